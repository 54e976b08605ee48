"""The golden cases of rating: readable files that say what is rated and what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.cases import RULE, render, split_case

CASES = sorted((Path(__file__).parent / "rating").glob("*.txt"))


def test_there_are_cases() -> None:
    assert len(CASES) >= 10


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden_case(path: Path, is_updating: bool) -> None:
    given, expected = split_case(path.read_text())
    rendered = render(given)
    if is_updating:
        path.write_text(f"{given}{RULE}\n{rendered}")
    else:
        assert expected == rendered
