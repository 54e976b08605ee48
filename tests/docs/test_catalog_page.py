"""docs/catalog.md: every example is run, in order, and every file it shows is what it says."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs
import pytest
import yaml

from tallystick.domain.catalog.schema import catalog_schema
from tallystick.domain.meters import Aggregation
from tests.fixtures.commands import tallystick
from tests.fixtures.paths import CATALOG_FILE, ROOT
from tests.sandbox.rig import client_for

if TYPE_CHECKING:
    from pathlib import Path

    from tallystick.config import Settings

PAGE = (ROOT / "docs" / "catalog.md").read_text("utf-8")
SCHEMA_FILE = ROOT / "docs" / "catalog.schema.json"
STEP = re.compile(
    r"<!-- (?P<what>file|edit|run|stripe)(?:: (?P<how>.*?))? -->"
    r"(?:\n```\w+\n(?P<block>.*?)```)?",
    re.DOTALL,
)
VARYING = (
    (re.compile(r"price_(test_)?\w{8,}"), "price_..."),
    (re.compile(r'"to": "[^"]+"'), '"to": "..."'),
    (re.compile(re.escape(", ".join(Aggregation))), "AGGREGATIONS"),
)


def settled(text: str) -> str:
    for pattern, shown in VARYING:
        text = pattern.sub(shown, text)
    return text


class Reader:
    """Somebody who follows the page word for word, in a folder of their own."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        base, key = settings.stripe_api_base or "", settings.stripe_api_key or ""
        self._environment = {
            "TALLYSTICK_DATABASE_URL": f"sqlite:///{folder / 'tallystick.db'}",
            "TALLYSTICK_STRIPE_API_KEY": key,
            "TALLYSTICK_STRIPE_API_BASE": base,
            "TALLYSTICK_STRIPE_RATE": "10000",
        }
        self._sdk: Any = client_for(base, key).v1
        self.ran = 0
        assert self._run("tallystick init")[0] == 0

    def file(self, name: str, block: str) -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, "utf-8")

    def edit(self, how: str, _block: str) -> None:
        name, _, change = how.partition(": ")
        before, after = change.replace("\\n", "\n").split(" => ")
        path = self._folder / name
        text = path.read_text("utf-8")
        assert text.count(before) == 1, f"{before!r} is not once in {name}"
        path.write_text(text.replace(before, after), "utf-8")

    def stripe(self, how: str, _block: str) -> None:
        verb, key = how.split()
        assert verb == "archive"
        (price,) = self._sdk.prices.list({"lookup_keys": [key]}).data
        self._sdk.prices.update(price.id, {"active": False})

    def run(self, _how: str, block: str) -> None:
        said: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                code, output = self._run(line.removeprefix("$ "))
                said += [line, *output.splitlines(), *([f"exit {code}"] if code else [])]
                self.ran += 1
        shown = block.splitlines()
        if shown[-1] == "...":  # what follows is shown elsewhere
            shown, said = shown[:-1], said[: len(shown) - 1]
        assert shown == [settled(line) for line in said]

    def _run(self, command: str) -> tuple[int, str]:
        typed, _, target = command.partition(" > ")
        name, *arguments = shlex.split(typed)
        assert name == "tallystick"
        done = tallystick(*arguments, environment=self._environment, folder=self._folder)
        output = done.stderr + done.stdout
        if target:
            (self._folder / target).write_text(output, "utf-8")
            return done.returncode, ""
        return done.returncode, output


def test_every_example_does_what_the_page_says(tmp_path: Path, stripe_settings: Settings) -> None:
    reader = Reader(tmp_path, stripe_settings)
    steps = list(STEP.finditer(PAGE))
    for step in steps:
        getattr(reader, step["what"])(step["how"] or "", step["block"] or "")
    assert len(steps) == PAGE.count("<!-- ")
    assert reader.ran >= 15


def test_the_committed_schema_is_what_the_code_says() -> None:
    written = json.dumps(catalog_schema(), indent=2, ensure_ascii=False) + "\n"
    assert SCHEMA_FILE.read_text("utf-8") == written, "run `tallystick schema` into it"


def test_the_example_names_the_schema_for_editors() -> None:
    first = CATALOG_FILE.read_text("utf-8").splitlines()[0]
    _, _, path = first.partition("# yaml-language-server: $schema=")
    assert (CATALOG_FILE.parent / path).resolve() == SCHEMA_FILE


@pytest.mark.parametrize("name", ["catalog.yaml", "more/plans.yaml", "fee.yaml"])
def test_the_schema_takes_what_is_a_catalog(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(catalog_schema())
    jsonschema.validate(yaml.safe_load(block_of(name)), catalog_schema())


def test_the_schema_takes_the_example() -> None:
    jsonschema.validate(yaml.safe_load(CATALOG_FILE.read_text("utf-8")), catalog_schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("aggregation: count", "aggregation: average"),
        ("unit_label: call", "unit: call"),
        ("unit_amount: 1}", "unit_amount: -1}"),
        ('"0.8"', '"0.0000000000001"'),
        ("up_to: inf", "up_to: infinity"),
        ("report_every_minutes: 30", "report_every_minutes: 5"),
        ("interval: month", "interval: hour"),
    ],
)
def test_the_schema_refuses_what_is_none(old: str, new: str) -> None:
    text = block_of("catalog.yaml")
    assert old in text
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace(old, new)), catalog_schema())


def test_the_schema_is_printed() -> None:
    printed = tallystick("schema")
    assert printed.returncode == 0
    assert json.loads(printed.stdout) == catalog_schema()


def block_of(name: str) -> str:
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]
