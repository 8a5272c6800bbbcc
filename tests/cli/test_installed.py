"""The package as it is installed: a wheel, without the repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_an_installed_wheel_does_the_main_job_without_the_repository(
    tmp_path: Path, home: Path
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    run("uv", "build", "--wheel", "--out-dir", tmp_path, ROOT, cwd=ROOT, env=env)
    (wheel,) = tmp_path.glob("*.whl")
    run("uv", "venv", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path, env=env)
    python = tmp_path / "venv" / "bin" / "python"
    run("uv", "pip", "install", "--python", python, wheel, cwd=tmp_path, env=env)
    ntrader = tmp_path / "venv" / "bin" / "ntrader"

    made = json.loads(
        run(ntrader, "run", "--strategy", "sma", "--json", cwd=tmp_path, env=env).stdout
    )
    found = json.loads(run(ntrader, "history", "--json", cwd=tmp_path, env=env).stdout)

    assert made["saved"] is True
    assert made["metrics"]["final_balance"] == 224_460.06
    assert [each["run_id"] for each in found["runs"]] == [made["run_id"]]
