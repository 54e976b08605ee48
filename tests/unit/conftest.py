"""What several files of tests here share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fixtures.clocked_sandbox import ClockedSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def clocked() -> Iterator[ClockedSandbox]:
    sandbox = ClockedSandbox()
    yield sandbox
    sandbox.stop()
