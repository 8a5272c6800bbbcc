"""All benchmarks: ntrader beside the same by hand, and beside MLflow, in one table of ratios.

    uv run python -m tests.benchmarks [--quick | --full] [--only PART ...] [--home DIRECTORY]
        [--peer ENVIRONMENT/bin/python] [--json FILE] [--record]
    uv run python -m tests.benchmarks --readme

The parts take turns: `store` (questions, saving, bytes), `commands`, `run`, `service` (where wrk is
installed) and `peer` (MLflow, by the Python of an environment that has
tests/benchmarks/peers/requirements.txt). A part that fails is told, the others go on, and the exit
code is 1. With `--home` the filled stores are kept there for the next time. `--record` writes
tests/benchmarks/latest.json and the README's table from it, if no part failed; `--readme` only
renews that table.
"""
# ruff: noqa: T201

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import readme
from .extent import FULL, QUICK, TINY
from .findings import print_findings
from .parts import PARTS, measure
from .readme import LATEST
from .timing import unwind_when_terminated

EXTENTS = {extent.name: extent for extent in (QUICK, FULL, TINY)}
RECORDED = {"store", "commands", "run"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code: 1 if a part failed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.record and (given.extent != FULL.name or not set(given.only) >= RECORDED):
        parser.error(f"--record wants --full and the parts {', '.join(sorted(RECORDED))}")
    if given.readme:
        readme.renew()
        return 0
    with _home(given.home) as home:
        extent = EXTENTS[given.extent]
        lines, document = measure(home, extent, only=given.only, peer=given.peer)
    print_findings(lines)
    print(*document["notes"], sep="\n")
    text = json.dumps(document, indent=2) + "\n"
    if given.json is not None:
        given.json.write_text(text)
    for part, error in document["failed"].items():
        print(f"{part} failed: {error}", file=sys.stderr)
    if document["failed"]:
        return 1
    if given.record:
        LATEST.write_text(text)
        readme.renew()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    extents = parser.add_mutually_exclusive_group()
    for extent in EXTENTS.values():
        text = f"stores of {', '.join(f'{runs:,}' for runs in extent.runs)} runs"
        extents.add_argument(
            f"--{extent.name}", dest="extent", action="store_const", const=extent.name, help=text
        )
    parser.set_defaults(extent=QUICK.name)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--home", type=Path, help="where filled stores are kept")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has MLflow")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--record", action="store_true", help="make them those of the README")
    parser.add_argument("--readme", action="store_true", help="only renew the README's table")
    return parser


@contextmanager
def _home(kept: Path | None) -> Iterator[Path]:
    """Give the directory that is kept, or one that is removed at the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        yield Path(home)


if __name__ == "__main__":
    unwind_when_terminated()
    sys.exit(main())
