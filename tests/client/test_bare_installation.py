"""`pip install tallystick` without extras: the client works, and commands explain themselves."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import tomllib

import pytest

from tests.fixtures.paths import ROOT

MODULES = {"PyYAML": "yaml", "uvloop; sys_platform != 'win32'": "uvloop"}


def server_modules() -> list[str]:
    """Return the modules that only the extras bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bare = {requirement.split(">")[0] for requirement in project["dependencies"]}
    names = [
        requirement.split(">")[0].split("=")[0]
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
        if extra != "all"
    ]
    assert "stripe" in names
    return [MODULES.get(name, name) for name in names if name not in bare]


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which the extras' modules cannot be imported."""
    barrier = f"""
        import sys

        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {server_modules()!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Missing())
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(barrier) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_client_needs_nothing_of_the_server() -> None:
    done = run_without_extras(
        """
        import tempfile, tallystick
        with tempfile.TemporaryDirectory() as spool:
            client = tallystick.Client("http://127.0.0.1:9", "key", spool=spool)
            client.record("http_request", customer="acme")
            client.close(0)
        print(tallystick.__version__)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["import", "--help"], ["--version"]], ids=str)
def test_the_command_line_shows_its_help(arguments: list[str]) -> None:
    done = run_without_extras(
        f"sys.argv = ['tallystick', *{arguments!r}]\nfrom tallystick.cli.main import main\nmain()"
    )
    assert done.returncode == 0, done.stderr
    assert "tallystick" in done.stdout.lower()


def test_a_command_that_needs_the_server_says_what_to_install() -> None:
    done = run_without_extras(
        "sys.argv = ['tallystick', 'init']\nfrom tallystick.cli.main import main\nmain()"
    )
    assert done.returncode == 2
    assert "pip install 'tallystick[server]'" in done.stderr
