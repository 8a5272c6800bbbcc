"""Pins: whether what a run rests on is today what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ntrader.domain.pins import Pin
from ntrader.domain.reproduction import PinCheck, PinState
from ntrader.services.environment import environment

if TYPE_CHECKING:
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.originals import Original
    from ntrader.services.workspace import Workspace


def check_pins(
    workspace: Workspace, original: Original, code: StrategyDefinition
) -> tuple[PinCheck, ...]:
    """Compare what a run rested on with what its re-run with `code` rests on."""
    then: dict[str, Any] = original.run.metadata.get("environment") or {}
    now = environment()
    return (
        _configuration_check(original, _engine(then)),
        _data_check(workspace, original),
        _code_check(original, code),
        _versions_check(Pin.ENGINE, _engine(then), _engine(now)),
        _versions_check(Pin.ENVIRONMENT, _surroundings(then), _surroundings(now)),
    )


def _configuration_check(original: Original, engine: Mapping[str, str]) -> PinCheck:
    """Recompute the fingerprint: a configuration changes only where somebody altered the store."""
    recorded = original.run.fingerprint
    for name, version in engine.items():
        computed = original.snapshot.fingerprint(engine=name, engine_version=version)
        if computed == recorded:
            return PinCheck(pin=Pin.CONFIGURATION, state=PinState.SAME)
        return PinCheck(
            pin=Pin.CONFIGURATION,
            state=PinState.CHANGED,
            detail=f"altered in the store: with the engine its hash is {computed[:12]}, "
            f"not {recorded[:12]}",
        )
    return PinCheck(
        pin=Pin.CONFIGURATION, state=PinState.UNKNOWN, detail="the run recorded no engine"
    )


def _data_check(workspace: Workspace, original: Original) -> PinCheck:
    pinned = original.dataset.content_hash
    computed = workspace.catalog.verify(pinned)
    if computed != pinned:
        return PinCheck(
            pin=Pin.DATA,
            state=PinState.CHANGED,
            detail=f"the stored bars hash to {computed[:12]}, not to {pinned[:12]}",
        )
    newest = original.newest_dataset
    newer = newest is not None and newest.content_hash != pinned
    detail = f"a newer version of {original.dataset.name} exists; the run's own was used"
    return PinCheck(pin=Pin.DATA, state=PinState.SAME, detail=detail if newer else "")


def _code_check(original: Original, code: StrategyDefinition) -> PinCheck:
    recorded = original.snapshot.config.strategy.source_hash
    if code.spec.source_hash != recorded:
        return PinCheck(
            pin=Pin.STRATEGY_CODE,
            state=PinState.CHANGED,
            detail=f"source {recorded[:12]} became {code.spec.source_hash[:12]}",
        )
    return PinCheck(
        pin=Pin.STRATEGY_CODE,
        state=PinState.SAME,
        detail=original.todays_code.passed_over(recorded),
    )


def _engine(recorded: dict[str, Any]) -> dict[str, str]:
    engine = recorded.get("engine")
    return {engine["name"]: engine["version"]} if isinstance(engine, dict) else {}


def _surroundings(recorded: dict[str, Any]) -> dict[str, str]:
    versions: dict[str, str] = dict(recorded.get("libraries") or {})
    for name in ("ntrader", "python", "platform"):
        if name in recorded:
            versions[name] = str(recorded[name])
    return versions


def _versions_check(pin: Pin, before: dict[str, str], after: dict[str, str]) -> PinCheck:
    if not before:
        return PinCheck(pin=pin, state=PinState.UNKNOWN, detail="the run recorded nothing of it")
    changes = [
        f"{name} {old} became {after.get(name, 'absent')}"
        for name, old in before.items()
        if after.get(name) != old
    ]
    state = PinState.CHANGED if changes else PinState.SAME
    return PinCheck(pin=pin, state=state, detail=", ".join(changes))
