"""`make demo`, from the log to the last line, compared with the README and with a recount."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.fixtures.commands import tallystick
from tests.fixtures.paths import ROOT
from tests.fixtures.recount import recount

DEMO_SECONDS_MAX = 600


@pytest.fixture(scope="module")
def printed() -> str:
    """What the demo prints on standard output."""
    done = subprocess.run(
        ["make", "--no-print-directory", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(DEMO_SECONDS_MAX)
def test_the_demo_prints_what_the_readme_says(printed: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"<!-- demo output -->\n```\n(.*?)```", readme, re.DOTALL)
    assert found
    lines = [line.rstrip() for line in printed.splitlines()]
    expected = found.group(1).splitlines()
    assert lines[-len(expected) :] == expected


@pytest.mark.slow
@pytest.mark.timeout(DEMO_SECONDS_MAX)
def test_the_demo_bills_what_a_recount_counts(printed: str) -> None:
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
