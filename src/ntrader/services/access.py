"""API keys: making, listing and revoking them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ntrader.domain.access import AccessScope, ApiKey, KeyToken, checked_key_name
from ntrader.errors import UsageError

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace
    from ntrader.storage.keys import KeyRepository


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key with the text that opens the service; nobody can show it again."""

    key: ApiKey
    token: str = field(repr=False)


async def create_key(
    workspace: Workspace, name: str, scope: AccessScope, *, expires_at: datetime | None = None
) -> MadeKey:
    """Make a key.

    Raises:
        UsageError: the name is not valid, or the key would have expired already.
        ConflictError: the name is that of another key which is not revoked.
    """
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise UsageError("A key cannot expire before it is made.", hint="Name a day to come.")
    token = KeyToken.new()
    keys = await open_keys(workspace)
    return MadeKey(await keys.add(checked_key_name(name), token, scope, expires_at), token.text)


async def list_keys(workspace: Workspace) -> Sequence[ApiKey]:
    """Return all keys, newest first, the revoked ones too."""
    return await (await open_keys(workspace)).list()


async def revoke_keys(workspace: Workspace, references: Sequence[str]) -> Sequence[ApiKey]:
    """Revoke keys by name, prefix or id; what is revoked stays so.

    Raises:
        NotFoundError: there is no such key; those before it are revoked.
    """
    keys = await open_keys(workspace)
    return [await keys.revoke(reference) for reference in references]


async def open_keys(workspace: Workspace) -> KeyRepository:
    """Return the keys of a workspace."""
    from ntrader.storage.keys import KeyRepository

    return KeyRepository((await workspace.store()).database)
