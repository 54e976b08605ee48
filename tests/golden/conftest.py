"""``pytest tests/golden --update-golden`` writes what is computed into the cases, for review."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the expected half of golden cases"
    )


@pytest.fixture
def is_updating(request: pytest.FixtureRequest) -> bool:
    """Whether the expected half is rewritten. Without this folder on the command line it is not."""
    return bool(request.config.getoption("--update-golden", default=False))
