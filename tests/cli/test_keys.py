"""`ntrader keys`: made once, shown once, revoked."""

import hashlib

from support.commands import Command


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(ntrader: Command) -> None:
    made = ntrader("keys", "create", "platform", "--scope", "write")
    assert made.exit_code == 0
    (key,) = made.stdout.splitlines()
    assert key.startswith("ntr_")
    assert "shown this once" in made.stderr

    listed = ntrader("keys", "list")
    assert key[:12] in listed.stdout
    assert "platform" in listed.stdout
    assert "active" in listed.stdout
    secret = key.split("_", 2)[2]
    everything = [ntrader("keys", "list", *form).stdout for form in ((), ("--json",), ("--csv",))]
    assert not any(secret in shown for shown in everything)
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert not any(digest in shown for shown in everything)


def test_json_has_what_may_be_known(ntrader: Command) -> None:
    made = ntrader("keys", "create", "desk", "--days", "30", "--json").json
    key = made.pop("key")
    assert (made["name"], made["scope"], made["status"]) == ("desk", "read", "active")
    assert made["expires_at"] is not None
    assert key.startswith(made["prefix"])
    assert ntrader("keys", "list", "--json").json == {"keys": [made]}


def test_a_name_is_that_of_one_key_until_it_is_revoked(ntrader: Command) -> None:
    first = ntrader("keys", "create", "desk", "--json").json
    again = ntrader("keys", "create", "desk", "--json")
    assert (again.exit_code, again.json["error"]["code"]) == (1, "conflict")

    revoked = ntrader("keys", "revoke", "desk")
    assert revoked.stdout == f"Revoked desk ({first['prefix']}).\n"
    assert ntrader("keys", "create", "desk").exit_code == 0
    assert [key["status"] for key in ntrader("keys", "list", "--json").json["keys"]] == [
        "active",
        "revoked",
    ]


def test_a_key_is_revoked_by_its_prefix_and_its_id_too_and_stays_so(ntrader: Command) -> None:
    one, two = (ntrader("keys", "create", name, "--json").json for name in ("one", "two"))
    revoked = ntrader("keys", "revoke", one["prefix"], two["id"], "--json").json["keys"]
    assert [(key["name"], key["status"]) for key in revoked] == [
        ("one", "revoked"),
        ("two", "revoked"),
    ]
    again = ntrader("keys", "revoke", "one", "--json").json["keys"]
    assert again == revoked[:1]


def test_a_key_that_is_not_there_cannot_be_revoked(ntrader: Command) -> None:
    refused = ntrader("keys", "revoke", "nobody")
    assert refused.exit_code == 3
    assert "ntrader keys list" in refused.stderr


def test_a_name_of_two_words_is_refused(ntrader: Command) -> None:
    assert ntrader("keys", "create", "two words").exit_code == 2


def test_without_keys_the_list_says_how_to_make_one(ntrader: Command) -> None:
    listed = ntrader("keys", "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "ntrader keys create" in listed.stderr
