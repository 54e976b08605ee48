"""The house rules, each as a test over the source."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.paths import ROOT, SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
PORT_METHODS_MAX = 7

BANNED_WORDS = frozenset(
    {"manager", "helper", "helpers", "util", "utils", "common", "misc", "handle", "process"}
)

MONEY_PATHS = ("domain", "pipeline", "billing", "oversight", "storage", "ports", "sandbox")
"""Where no float may be made: quantities and amounts pass through all of these."""

FLOATS_ALLOWED = {
    "ports/clock.py": "seconds to wait",
    "sandbox/": "seconds to wait, and the one field that Stripe types as a float",
}

CLOCKS = {
    "ports/clock.py",
    "sandbox/wallclock.py",
    "cli/local_servers.py",
    "client/moments.py",
}
"""One each: the product, the sandbox, the client, and a server process that is waited for."""

SOURCES = sorted(SOURCE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= FILE_LINES_MAX
    too_long = [
        f"{node.name}: {lines} lines"
        for node in functions(tree_of(path))
        if (lines := code_lines(node)) > FUNCTION_LINES_MAX
    ]
    assert too_long == []


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, an object that it spells out as one: that is data."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            lines -= set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if relative(path).startswith(MONEY_PATHS)],
    ids=relative,
)
def test_no_float_is_made_where_money_passes(path: Path) -> None:
    if relative(path).startswith(tuple(FLOATS_ALLOWED)):
        return
    found = []
    for node in ast.walk(tree_of(path)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id in ("float", "round"):
            found.append(f"line {called.lineno}: {called.id}()")
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"line {node.lineno}: {node.value}")
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nobody_but_the_clock_asks_for_the_time(path: Path) -> None:
    if relative(path) in CLOCKS:
        return
    asked = re.findall(
        r"datetime\.(?:now|utcnow|today)\(|date\.today\(|time\.(?:time|time_ns|monotonic|sleep)\(",
        path.read_text("utf-8"),
    )
    assert asked == []


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.sql")), ids=relative)
def test_sql_never_asks_for_the_time(path: Path) -> None:
    text = path.read_text("utf-8").lower()
    for word in ("current_timestamp", "unixepoch(", "datetime(", "strftime(", "now()"):
        assert word not in text


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_names_say_what_a_thing_is(path: Path) -> None:
    words = set(re.split(r"[_/.]", relative(path)))
    names = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    names += [node.name for node in functions(tree_of(path))]
    for name in names:
        words |= set(re.split(r"_|(?<=[a-z])(?=[A-Z])", name.strip("_")))
    assert {word.lower() for word in words} & BANNED_WORDS == set()


@pytest.mark.parametrize("path", sorted((SOURCE / "ports").glob("*.py")), ids=relative)
def test_ports_are_narrow(path: Path) -> None:
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            assert len(methods) <= PORT_METHODS_MAX, node.name


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_public_things_are_documented(path: Path) -> None:
    tree = tree_of(path)
    if path.read_text("utf-8").strip():
        assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_sql_lives_in_files() -> None:
    found = []
    pattern = re.compile(r'"\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM) ')
    for path in SOURCES:
        if relative(path) == "storage/sqlite/migrations.py":
            continue  # its ledger exists before any file is read
        if pattern.search(path.read_text("utf-8")):
            found.append(relative(path))
    assert found == []


def test_every_statement_is_used() -> None:
    code = "\n".join(path.read_text("utf-8") for path in SOURCES)
    for file in sorted(SOURCE.rglob("sql/*.sql")):
        for name in re.findall(r"^-- name: (\w+)$", file.read_text("utf-8"), re.MULTILINE):
            assert f'"{name}"' in code, f"{file.name}: {name}"


def test_the_project_names_no_machine_and_no_secret() -> None:
    tracked = [
        path
        for folder in ("src", "tests", "docs", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".sql", ".yaml", ".toml", ".json", ".txt"}
    ]
    live_key = re.compile(r"\b[sr]k_live_[0-9A-Za-z]{8,}")
    home = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w+")
    for path in tracked:
        text = path.read_text("utf-8")
        assert not live_key.search(text), path
        assert not home.search(text), path
