"""`pip install .` of a clean clone, as its user has it: the client, typed, and nothing of a server.

pip fetches what builds and what the client needs, as it does for everybody; where it reaches no
index, the test is skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.client.test_bare_installation import server_requirements
from tests.client.test_recorder import Installation
from tests.fixtures.paths import ROOT
from tests.fixtures.patience import PATIENCE_SECONDS
from tests.typing.test_client_api import CHECKED, run_mypy

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

NO_INDEX = re.compile(
    "No matching distribution found|Could not find a version|HTTP error|Max retries exceeded|"
    "Connection(Error| aborted| broken| refused| reset)|ProtocolError|ProxyError|SSLError|"
    "[Tt]imeout|timed out|IncompleteRead|Network is unreachable|name resolution"
)
"""What pip says where it reaches no index, or one that fails: nothing that concerns the package."""

INSTALLING_SECONDS_MAX = 1_800
RECORDING = f"""
import sys, tallystick
assert "site-packages" in tallystick.__file__, tallystick.__file__
url, key, spool = sys.argv[1:]
with tallystick.Client(url, key, spool=spool) as client:
    client.record("http_request", customer="acme", id="mine")
    assert client.flush({PATIENCE_SECONDS})
    print(client.metrics.accepted)
"""


@dataclass
class Environment:
    """A virtual environment of somebody who installed the package."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment where nothing of the project lies."""
        environment = {name: at for name, at in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pip for the environment, which has none of its own."""
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        return subprocess.run(
            [*command, "--python", self.python, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment with the last commit installed, without any extra."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no clone can be made: this is no checkout, or there is no git")
    clone = tmp_path / "clone"
    # a checkout may belong to another user than the one who runs the tests
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "clone", "--quiet", str(ROOT), str(clone)], check=True)
    made = Environment(tmp_path / "environment")
    venv.create(made.folder)
    done = made.pip("install", "--quiet", str(clone), "-c", str(clone / "constraints.txt"))
    if done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip(f"pip reaches no index: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(clone)
    return made


@pytest.mark.slow
@pytest.mark.timeout(INSTALLING_SECONDS_MAX)  # an index may be slow, and is asked several times
def test_what_pip_installs_is_a_typed_client_and_nothing_of_the_server(
    environment: Environment, stripe_settings: Settings, tmp_path: Path
) -> None:
    check_distributions(environment)
    check_commands(environment)
    check_types(environment, tmp_path)
    check_delivery(environment, Installation(stripe_settings, tmp_path))


def check_distributions(environment: Environment) -> None:
    listed = environment.pip("list", "--format", "json")
    names = {each["name"].lower() for each in json.loads(listed.stdout)}
    assert {"tallystick", "rich", "typer"} <= names
    assert names & {name.lower() for name in server_requirements()} == set()
    complete = environment.pip("check")
    assert complete.returncode == 0, complete.stdout


def check_commands(environment: Environment) -> None:
    for arguments in (["--help"], ["import", "--help"], ["serve", "--help"], ["--version"]):
        done = environment.run("tallystick", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "tallystick" in done.stdout.lower()
    refused = environment.run("tallystick", "init")
    assert refused.returncode == 2
    assert "pip install 'tallystick[server]'" in refused.stderr


def check_types(environment: Environment, folder: Path) -> None:
    """Check a user's file as strictly as mypy can, against the types that were installed."""
    text = CHECKED.read_text("utf-8")
    done = run_mypy(folder, text, "--python-executable", environment.python)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    wrong = run_mypy(
        folder, text.replace('value="0.1"', "value=0.1"), "--python-executable", environment.python
    )
    assert wrong.returncode == 1
    assert 'incompatible type "float"' in wrong.stdout


def check_delivery(environment: Environment, installation: Installation) -> None:
    with installation.serve() as server:
        arguments = [server.url, installation.key, str(installation.spool)]
        done = environment.run("python", "-c", RECORDING, *arguments)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert installation.stored() == ["mine"]
