"""Who may ask what: keys, scopes, limits and origins, on every route."""

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets.sync.client
from fastapi.routing import APIRoute, APIWebSocketRoute
from websockets.exceptions import InvalidStatus

import ntrader.api
from ntrader.domain.access import AccessScope
from support.processes import run_process
from support.service import PATIENCE_SECONDS, ServiceProcess, eventually, process

# A new connection for each, without the certificates that nobody needs on loopback.
request = partial(httpx.request, verify=False, timeout=PATIENCE_SECONDS)
get = partial(request, "GET")

OPEN = {"/health", "/ready"}
"""What needs no key: a probe has none."""


@dataclass(frozen=True)
class Route:
    """A route, and the scope that it names."""

    path: str
    method: str
    scope: AccessScope | None

    @property
    def address(self) -> str:
        return re.sub(r"\{\w+\}", str(uuid4()), self.path)


def every_route() -> list[Route]:
    """Return the routes of all routers of the package."""
    found = []
    for module in pkgutil.iter_modules(ntrader.api.__path__):
        router = getattr(importlib.import_module(f"ntrader.api.{module.name}"), "router", None)
        prefix = "" if module.name == "operating" else "/api/v1"
        for route in [] if router is None else router.routes:
            assert isinstance(route, APIRoute | APIWebSocketRoute)
            scopes = [
                getattr(each.call, "scope", None)
                for each in route.dependant.dependencies
                if hasattr(each.call, "scope")
            ]
            methods = (route.methods or set()) if isinstance(route, APIRoute) else {"WEBSOCKET"}
            scope = scopes[0] if scopes else None
            found += [Route(prefix + route.path_format, method, scope) for method in methods]
    return found


ROUTES = every_route()
GUARDED = [route for route in ROUTES if route.path not in OPEN]


def ntrader_command(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = run_process(*arguments, "--json", env=environment)
    assert done.exit_code == 0, done.stdout + done.stderr
    found: dict[str, Any] = done.json
    return found


@pytest.fixture(scope="module")
def new_key(service_environment: dict[str, str]) -> Callable[..., str]:
    """Make a key with the command, and return it."""

    def make(name: str, scope: str = "read", *options: str) -> str:
        made = ntrader_command(
            service_environment, "keys", "create", name, "--scope", scope, *options
        )
        return str(made["key"])

    return make


@pytest.fixture(scope="module")
def keys(new_key: Callable[..., str]) -> dict[str, str]:
    """A key of each scope."""
    return {scope: new_key(scope, scope) for scope in ("read", "write", "admin")}


@pytest.fixture(scope="module")
def guarded(
    keys: dict[str, str],
    service_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServiceProcess]:
    """A service with keys, which others can reach and one web page may ask."""
    environment = {**service_environment, "NTRADER_CORS_ORIGINS": "https://desk.example"}
    directory: Path = tmp_path_factory.mktemp("guarded")
    with process(directory, environment, "serve", "--port", "0", "--host", "0.0.0.0") as started:
        yield started


def root_of(service: ServiceProcess) -> str:
    return service.address.removesuffix("/api/v1").replace("0.0.0.0", "127.0.0.1")


@pytest.fixture(scope="module")
def root(guarded: ServiceProcess) -> str:
    return root_of(guarded)


def ask(
    root: str, route: Route, key: str | None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and problem of a request; 101 where a WebSocket was opened."""
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if route.method == "WEBSOCKET":
        url = root.replace("http:", "ws:") + route.address
        try:
            with websockets.sync.client.connect(url, additional_headers=headers):
                return 101, {}, None
        except InvalidStatus as error:
            found = error.response
            return found.status_code, dict(found.headers), json.loads(found.body or b"{}")
    body: dict[str, Any] = (
        {"json": {}} if route.method == "POST" and not route.path.endswith("/datasets") else {}
    )
    answer = request(route.method, root + route.address, headers=headers, **body)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, dict(answer.headers), answer.json() if is_problem else None


def test_every_route_names_a_scope_but_the_probes() -> None:
    assert {route.path for route in ROUTES if route.scope is None} == OPEN
    assert len(GUARDED) > 25
    for route in GUARDED:
        if route.path.startswith("/api/v1/webhooks") or route.method == "DELETE":
            assert route.scope is AccessScope.ADMIN, route
        elif route.method in ("GET", "WEBSOCKET"):
            assert route.scope is AccessScope.READ, route
        else:
            assert route.scope is AccessScope.WRITE, route
    assert {route.scope for route in GUARDED} == set(AccessScope)


def test_the_service_has_these_routes_and_no_others(root: str) -> None:
    document = get(f"{root}/api/v1/openapi.json").json()
    served = {
        (path, method.upper())
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert served == {(each.path, each.method) for each in ROUTES if each.method != "WEBSOCKET"}
    guarded = {
        (path, method.upper())
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    }
    assert guarded == {(each.path, each.method) for each in GUARDED if each.method != "WEBSOCKET"}


def test_without_a_key_no_route_answers(root: str) -> None:
    for route in GUARDED:
        status, headers, problem = ask(root, route, None)
        assert (status, problem["type"]) == (401, "urn:ntrader:problem:key_missing"), route
        assert headers["www-authenticate"].startswith("Bearer"), route


@pytest.mark.parametrize("kind", ["wrong", "revoked", "expired"])
def test_a_key_that_is_not_good_opens_no_route(
    root: str,
    kind: str,
    new_key: Callable[..., str],
    service_environment: dict[str, str],
) -> None:
    key = "ntr_00000000_" + "x" * 43
    if kind != "wrong":
        key = new_key(kind, "admin", "--days", "1")
        assert get(f"{root}/api/v1/queue", headers=bearer(key)).status_code == 200
    if kind == "revoked":
        ntrader_command(service_environment, "keys", "revoke", kind)
    elif kind == "expired":
        expire(service_environment["DATABASE_URL"], kind)
    said = "not known" if kind == "wrong" else kind
    eventually(lambda: get(f"{root}/metrics", headers=bearer(key)).status_code == 401)
    for route in GUARDED:
        status, headers, problem = ask(root, route, key)
        assert (status, problem["type"]) == (401, "urn:ntrader:problem:key_refused"), route
        assert said in problem["detail"]
        assert "invalid_token" in headers["www-authenticate"], route


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def expire(url: str, name: str) -> None:
    import asyncio

    from support.database import execute

    asyncio.run(
        execute(
            url,
            "UPDATE api_keys SET created_at = now() - interval '2 days',"
            f" expires_at = now() - interval '1 day' WHERE name = '{name}'",
        )
    )


@pytest.mark.parametrize("holds", ["read", "write"])
def test_a_scope_that_is_too_small_is_refused_on_every_route_that_needs_more(
    root: str, keys: dict[str, str], holds: str
) -> None:
    granted = AccessScope(holds).granted
    for route in GUARDED:
        status, headers, problem = ask(root, route, keys[holds])
        if route.scope in granted:
            assert status not in (401, 403), route
            continue
        assert route.scope is not None
        assert (status, problem["type"]) == (403, "urn:ntrader:problem:scope_missing"), route
        assert f'scope="{route.scope.value}"' in headers["www-authenticate"]


BROKEN = b'{"initial_capital": '


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (BROKEN, "application/json"),
        (b"<xml/>", "application/xml"),
        (b" " * (1 << 20) + BROKEN, "application/json"),
    ],
    ids=["broken", "of another kind", "too large"],
)
def test_who_may_not_ask_has_no_body_looked_at(
    root: str, keys: dict[str, str], content: bytes, content_type: str
) -> None:
    """The key comes first: nothing is parsed for who has none, and no field is named to him."""
    for route in GUARDED:
        if route.method == "WEBSOCKET":
            continue
        for key, refusal in ((None, 401), (keys["read"], 403)):
            if refusal == 403 and route.scope is AccessScope.READ:
                continue
            headers = {"Content-Type": content_type, **(bearer(key) if key else {})}
            # A page that is none and an id that is none are not told either.
            answer = request(
                route.method,
                f"{root}{route.address}?limit=none&after=%00",
                content=content,
                headers=headers,
            )
            assert answer.status_code == refusal, (route, answer.text)
            assert answer.json()["errors"] == [], route


def test_a_larger_scope_has_the_smaller_ones(root: str, keys: dict[str, str]) -> None:
    for route in GUARDED:
        status, headers, problem = ask(root, route, keys["admin"])
        assert status not in (401, 403, 500), (route, problem)
        # Whatever the answer is, it says where the key stands.
        assert status == 101 or "ratelimit-remaining" in headers, route


def test_over_the_limit_every_route_says_when_to_come_again(
    service_environment: dict[str, str], keys: dict[str, str], tmp_path: Path
) -> None:
    environment = {**service_environment, "NTRADER_RATE_LIMIT": "2"}
    with process(tmp_path, environment, "serve", "--port", "0") as limited:
        root = root_of(limited)
        first = get(f"{root}/api/v1/queue", headers=bearer(keys["admin"]))
        assert first.headers["ratelimit-limit"] == "2"
        assert first.headers["ratelimit-remaining"] == "1"
        assert first.headers["ratelimit-policy"] == "2;w=60"
        for route in GUARDED:
            tries = [ask(root, route, keys["admin"]) for _ in range(3)]
            _, headers, problem = next(each for each in tries if each[0] == 429)
            assert problem["type"] == "urn:ntrader:problem:rate_limited", route
            headers = {name.lower(): value for name, value in headers.items()}
            assert 1 <= int(headers["retry-after"]) <= 60
            assert headers["ratelimit-remaining"] == "0"
        # Another key has its own, and probes have none.
        assert get(f"{root}/api/v1/queue", headers=bearer(keys["read"])).status_code == 200
        assert {get(f"{root}/health").status_code for _ in range(5)} == {200}


def test_who_tries_keys_is_slowed_down(
    service_environment: dict[str, str], keys: dict[str, str], tmp_path: Path
) -> None:
    with process(tmp_path, service_environment, "serve", "--port", "0") as tried:
        root = root_of(tried)
        with httpx.Client(base_url=root, timeout=PATIENCE_SECONDS) as client:
            for attempt in range(1_000):
                answer = client.get("/api/v1/queue", headers=bearer(f"ntr_{attempt}"))
                if answer.status_code == 429:
                    break
                assert answer.status_code == 401
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1


def test_a_socket_takes_its_key_from_a_subprotocol(root: str, keys: dict[str, str]) -> None:
    url = root.replace("http:", "ws:") + f"/api/v1/runs/{uuid4()}/socket"
    offered: Any = ["ntrader", f"ntrader.key.{keys['read']}"]
    with websockets.sync.client.connect(url, subprotocols=offered) as socket:
        assert socket.subprotocol == "ntrader"
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(timeout=PATIENCE_SECONDS)
        assert socket.protocol.close_code == 4404
    offered = ["ntrader", "ntrader.key.ntr_wrong"]
    with pytest.raises(InvalidStatus):
        websockets.sync.client.connect(url, subprotocols=offered)


def test_pages_of_the_allow_list_may_ask_and_others_may_not(
    root: str, keys: dict[str, str]
) -> None:
    def preflight(origin: str) -> httpx.Response:
        return request(
            "OPTIONS",
            f"{root}/api/v1/runs",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, idempotency-key",
            },
        )

    known, other = preflight("https://desk.example"), preflight("https://evil.example")
    assert known.status_code == 200
    assert known.headers["access-control-allow-origin"] == "https://desk.example"
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
    asked = get(
        f"{root}/api/v1/queue",
        headers={**bearer(keys["read"]), "Origin": "https://desk.example"},
    )
    assert asked.headers["access-control-allow-origin"] == "https://desk.example"
    assert "etag" in asked.headers["access-control-expose-headers"].lower()


def test_a_use_of_a_key_is_noted(
    root: str, new_key: Callable[..., str], service_environment: dict[str, str]
) -> None:
    key = new_key("noted")
    listed = ntrader_command(service_environment, "keys", "list")["keys"]
    assert next(each for each in listed if each["name"] == "noted")["last_used_at"] is None

    get(f"{root}/api/v1/queue", headers=bearer(key))

    listed = ntrader_command(service_environment, "keys", "list")["keys"]
    assert next(each for each in listed if each["name"] == "noted")["last_used_at"] is not None


def test_no_key_is_in_the_log_or_the_database(
    guarded: ServiceProcess,
    root: str,
    keys: dict[str, str],
    service_environment: dict[str, str],
) -> None:
    import asyncio

    import asyncpg

    get(f"{root}/api/v1/queue", headers=bearer(keys["write"]))
    assert keys["write"][:12] in guarded.log
    assert keys["write"] not in guarded.log

    async def rows() -> str:
        connection = await asyncpg.connect(service_environment["DATABASE_URL"])
        try:
            return str(await connection.fetch("SELECT * FROM api_keys"))
        finally:
            await connection.close()

    kept = asyncio.run(rows())
    assert keys["write"][:12] in kept
    assert keys["write"].split("_", 2)[2] not in kept


def test_without_keys_only_loopback_is_listened_on(
    service_environment: dict[str, str], empty_database_url: str, tmp_path: Path
) -> None:
    environment = {**service_environment, "DATABASE_URL": empty_database_url}
    refused = run_process("serve", "--port", "0", "--host", "0.0.0.0", env=environment)
    assert refused.exit_code == 2
    assert "ntrader keys create" in refused.stderr


def test_the_first_key_closes_a_service_that_runs(
    service_environment: dict[str, str], empty_database_url: str, tmp_path: Path
) -> None:
    environment = {**service_environment, "DATABASE_URL": empty_database_url}
    with process(tmp_path, environment, "serve", "--port", "0") as opened:
        root = root_of(opened)
        assert "There are no keys" in " ".join(opened.log.split())
        assert get(f"{root}/api/v1/queue").status_code == 200

        made = ntrader_command(environment, "keys", "create", "first", "--scope", "admin")

        eventually(lambda: get(f"{root}/api/v1/queue").status_code == 401)
        assert get(f"{root}/api/v1/queue", headers=bearer(made["key"])).status_code == 200
        # Revoking the last one opens nothing.
        ntrader_command(environment, "keys", "revoke", made["prefix"])
        eventually(
            lambda: get(f"{root}/api/v1/queue", headers=bearer(made["key"])).status_code == 401
        )
        assert get(f"{root}/api/v1/queue").status_code == 401


def test_a_body_a_page_and_a_comparison_have_a_size(root: str, keys: dict[str, str]) -> None:
    headers = {**bearer(keys["write"]), "Content-Type": "application/json"}
    runs = f"{root}/api/v1/runs"
    large = request("POST", runs, content=b" " * (1 << 20) + b"{}", headers=headers)
    assert large.status_code == 413
    assert get(f"{runs}?limit=1001", headers=headers).status_code == 422
    many = [("run", str(uuid4())) for _ in range(11)]
    assert get(f"{runs}/compare", params=many, headers=headers).status_code == 422
