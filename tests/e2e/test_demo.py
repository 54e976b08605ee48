"""`make demo`, from the log to the last line, compared with the README and with a recount."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.fixtures.commands import plain_environment, tallystick
from tests.fixtures.paths import ROOT
from tests.fixtures.recount import recount

DEMO_SECONDS_MAX = 1_800

COMMANDS = {
    "imported": ["make", "--no-print-directory", "demo"],
    "through the client library": [sys.executable, "-m", "tallystick.cli.main", "demo", "--client"],
    "on PostgreSQL, through the client library": [
        *("make", "--no-print-directory", "demo", "DB=postgres", "CLIENT=1")
    ],
}
"""The ways in which the log reaches a server: the figures are the same."""


@pytest.mark.slow
@pytest.mark.timeout(DEMO_SECONDS_MAX)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_demo_prints_what_the_readme_says_and_a_recount_counts(command: list[str]) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_readme(done.stdout)
    check_recount(done.stdout)


def check_readme(printed: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"<!-- demo output -->\n```\n(.*?)```", readme, re.DOTALL)
    assert found
    lines = [line.rstrip() for line in printed.splitlines()]
    expected = found.group(1).splitlines()
    assert lines[-len(expected) :] == expected


def check_recount(printed: str) -> None:
    counted = recount()
    rows = {
        words[0]: (int(words[1].replace(",", "")), int(words[2].replace(",", "")))
        for words in (line.split() for line in printed.splitlines())
        if words and (words[0] in counted or words[0] == "total")
    }
    assert len(rows) == 11
    total = rows.pop("total")
    assert total == (
        sum(requests for requests, _ in counted.values()),
        sum(size for _, size in counted.values()),
    )
    assert rows == {client: counted[client] for client in rows}


def test_a_demo_without_an_example_says_so() -> None:
    done = tallystick("demo", "--example", "no_such_folder")
    assert done.returncode == 2
    assert "no_such_folder" in done.stderr
