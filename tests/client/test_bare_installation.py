"""`pip install tallystick` without extras: the client works, and commands explain themselves."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tomllib

import pytest

from tests.fixtures.paths import ROOT

MODULES = {"PyYAML": "yaml"}


def server_requirements() -> list[str]:
    """Return the names of what only the extras bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bare = {requirement.split(">")[0] for requirement in project["dependencies"]}
    names = [
        re.split(r"[>=\[]", requirement)[0]
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
        if extra != "all"
    ]
    assert {"stripe", "psycopg", "pyarrow", "uvloop"} <= set(names)
    return [name for name in names if name not in bare]


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which the extras' modules cannot be imported."""
    modules = [MODULES.get(name, name) for name in server_requirements()]
    barrier = f"""
        import sys

        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {modules!r}:
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


def test_the_client_loads_nothing_but_itself_and_exact_numbers() -> None:
    """No third party's module, and of ours none of the server's."""
    done = run_without_extras(
        """
        before = set(sys.modules)
        import tallystick
        loaded = set(sys.modules) - before
        print(*sorted(name for name in loaded if name.startswith("tallystick.")))
        print(*sorted({name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)))
        """
    )
    assert done.returncode == 0, done.stderr
    ours, tops = done.stdout.splitlines()
    assert tops == "tallystick"
    for name in ours.split():
        assert name.split(".")[1] in ("client", "domain"), name
    assert "tallystick.client.recorder" in ours


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
