"""The live service against its own OpenAPI document, by schemathesis.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install schemathesis
    uv run python -m tests.benchmarks.openapi_fuzzing /tmp/fuzz/bin/schemathesis [--seconds 300]

A service with a worker on a server of its own gets requests that its document allows and some that
it forbids, with a key: first about data that are there, without a DELETE, then all. Left out is
`positive_data_acceptance`: a document that the schema allows may still name a dataset that is not
there.
"""
# ruff: noqa: T201

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from support.database import Background, test_server
from support.homes import temporary_home
from support.processes import run_process
from support.service import Api, process

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,"
CHECKS += "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
CHECKS += "unsupported_method,allow_header_conformance,use_after_free,ignored_auth"


def main() -> int:
    """Return what schemathesis returned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemathesis")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    background = Background()
    with (
        tempfile.TemporaryDirectory() as directory,
        test_server(background) as server,
        server.migrated_database() as url,
        temporary_home() as home,
    ):
        settings = {
            "DATABASE_URL": url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "NTRADER_RATE_LIMIT": "1000000",
        }
        made = run_process(
            "keys",
            "create",
            "fuzz",
            "--scope",
            "admin",
            "--json",
            cwd=Path(directory),
            env=settings,
        )
        key = json.loads(made.stdout)["key"]
        with (
            process(Path(directory), settings, "serve", "--port", "0", "--with-worker") as service,
            Api(service.address, key=key) as api,
        ):
            command = [
                *(options.schemathesis, "run", f"{service.address}/openapi.json"),
                *("--header", f"Authorization: Bearer {key}", "--checks", CHECKS),
                *("--max-time", str(options.seconds // 2), "--seed", str(options.seed)),
                *("--request-timeout", "60", "--generation-database", "none"),
                "--continue-on-failure",
            ]
            known = Path(directory) / "known"
            known.mkdir()
            _write_known_data(api, known)
            failed = any(
                [
                    subprocess.run([*command, "--exclude-method", "DELETE"], cwd=known).returncode,
                    subprocess.run(command, cwd=directory).returncode,
                ]
            )
            bugs = [line for line in service.log.splitlines() if " bug " in line]
    background.close()
    print(f"{len(bugs)} bugs in the service's log", *bugs, sep="\n")
    return int(failed or bool(bugs))


def _write_known_data(api: Api, directory: Path) -> None:
    """Have requests ask for what is there."""
    run_id, original = api.run(), api.run(parameters={"fast_period": 3})
    artifacts = api.client.get(f"/runs/{run_id}/artifacts").json()["artifacts"]
    known = {
        "run_id": run_id,
        "dataset_id": api.dataset_id(),
        "strategy_id": api.strategy_id(),
        "artifact_id": artifacts[0]["id"],
        "run": [run_id, original],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in known.items()]
    (directory / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines, ""]))


if __name__ == "__main__":
    sys.exit(main())
