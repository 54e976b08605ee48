"""The client's types as another project sees them: installed, strict, without our configuration."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fixtures.commands import plain_environment

CHECKED = Path(__file__).with_name("client_api.py")
IGNORED = re.compile(r" {2}# type: ignore\[([\w-]+(?:, [\w-]+)*)\]$")
FOUND = re.compile(r"^client_api\.py:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


def run_mypy(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Check a text in a folder that has nothing else."""
    (folder / "client_api.py").write_text(text, "utf-8")
    environment = {name: at for name, at in plain_environment().items() if name != "MYPYPATH"}
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *options, "client_api.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_right_passes_and_what_is_wrong_is_found(tmp_path: Path) -> None:
    """Without ``py.typed`` the package would be of no type at all, and nothing would be found."""
    done = run_mypy(tmp_path, CHECKED.read_text("utf-8"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_each_line_that_must_be_wrong_is(tmp_path: Path) -> None:
    lines = CHECKED.read_text("utf-8").splitlines()
    expected = {
        (number, code)
        for number, line in enumerate(lines, 1)
        if (found := IGNORED.search(line))
        for code in found.group(1).split(", ")
    }
    assert len(expected) > 20
    done = run_mypy(tmp_path, "\n".join(IGNORED.sub("", line) for line in lines) + "\n")
    assert done.returncode == 1
    assert {(int(number), code) for number, code in FOUND.findall(done.stdout)} == expected
