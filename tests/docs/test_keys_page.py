"""docs/keys.md names every operation under the scope that it needs."""

from __future__ import annotations

import re

from tallystick.api.openapi import openapi_document
from tallystick.domain.api_keys import Scope
from tests.fixtures.paths import ROOT

PAGE = (ROOT / "docs" / "keys.md").read_text("utf-8")


def test_every_operation_stands_under_its_scope() -> None:
    table = PAGE.partition("<!-- scopes -->")[2].partition("<!-- end of scopes -->")[0]
    shown = {
        cells[1].strip("` "): set(re.findall(r"`([A-Z]+ [^`]+)`", cells[3]))
        for cells in (row.split("|") for row in table.splitlines())
        if len(cells) == 5 and "`" in cells[1]
    }
    needed: dict[str, set[str]] = {scope: set() for scope in Scope}
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            for named in operation["security"]:
                needed[named["key"][0]].add(f"{method.upper()} {path}")
    assert shown == needed


def test_every_code_of_a_refusal_is_documented() -> None:
    source = (ROOT / "src" / "tallystick" / "api" / "authentication.py").read_text("utf-8")
    codes = re.findall(r'"(unauthorized|key_\w+|scope_\w+)"', source)
    assert len(set(codes)) == 4
    for code in codes:
        assert f"`{code}`" in PAGE, code
