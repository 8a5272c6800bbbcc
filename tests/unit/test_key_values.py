"""Keys: what they look like, and what is kept of them."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from ntrader.domain.access import AccessScope, ApiKey, KeyToken, checked_key_name
from ntrader.errors import UsageError

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def test_no_two_keys_are_alike_and_each_has_256_bits() -> None:
    made = {KeyToken.new().text for _ in range(100)}
    assert len(made) == 100
    # 43 characters of base64 are 256 bits and some.
    assert all(re.fullmatch(r"ntr_[0-9a-f]{8}_[\w-]{43}", each) for each in made)


def test_what_is_kept_is_the_hash_of_all_of_it() -> None:
    token = KeyToken("ntr_0a1b2c3d_secret")
    assert token.digest == hashlib.sha256(b"ntr_0a1b2c3d_secret").hexdigest()
    assert token.prefix == "ntr_0a1b2c3d"
    assert "secret" not in repr(token)


def test_a_scope_has_the_smaller_ones() -> None:
    read, write, admin = AccessScope
    assert read.granted == {read}
    assert write.granted == {read, write}
    assert admin.granted == {read, write, admin}


@pytest.mark.parametrize(
    ("expires", "revoked", "status"),
    [
        (None, None, "active"),
        (NOW + timedelta(seconds=1), None, "active"),
        (NOW, None, "expired"),
        (NOW + timedelta(days=1), NOW, "revoked"),
        (NOW, NOW, "revoked"),
    ],
)
def test_what_has_become_of_a_key(
    expires: datetime | None, revoked: datetime | None, status: str
) -> None:
    key = ApiKey(
        id=uuid4(),
        name="desk",
        prefix="ntr_0a1b2c3d",
        scope=AccessScope.READ,
        created_at=NOW - timedelta(days=1),
        expires_at=expires,
        revoked_at=revoked,
        last_used_at=None,
    )
    assert key.status(NOW) == status


@pytest.mark.parametrize("name", ["", "two words", "x" * 101, "a\nb", "\x1b[31m"])
def test_a_name_is_one_printable_word(name: str) -> None:
    with pytest.raises(UsageError):
        checked_key_name(name)
