"""The documentation's example runs as it stands, and its tables are complete."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tallystick.sandbox.faults import Fault
from tallystick.sandbox.settings import Settings
from tests.sandbox.rig import RunningSandbox

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sandbox.md"
EXAMPLE = re.compile(r"```python\n(import .*?base_addresses.*?)```", re.DOTALL)
TOTAL = "314"


@pytest.mark.parametrize("name", ["docs/sandbox.md", "README.md"])
def test_the_example_prints_its_invoice(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / name).read_text()
    found = EXAMPLE.search(page)
    assert found is not None
    with RunningSandbox() as running:
        code = found.group(1).replace("http://127.0.0.1:12111", running.url)
        exec(compile(code, name, "exec"), {})  # the page's own code, as a reader would run it
    assert capsys.readouterr().out.strip() == TOTAL


def test_every_fault_and_every_assumption_is_documented() -> None:
    page = PAGE.read_text()
    assert [fault for fault in Fault if f"`{fault.value}`" not in page] == []
    named = {field.name for field in fields(Settings)}
    listed = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) & named
    assert {"usage_rounding", "identifier_window_s", "meter_processing_s"} <= listed
