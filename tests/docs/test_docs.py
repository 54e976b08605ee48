"""The docs are true for today's code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import typer.main

from tallystick.cli.main import app
from tests.docs.generate import REFERENCE, reference
from tests.fixtures.paths import ROOT, SOURCE

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "web_api" / "README.md",
]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_reference_is_what_the_code_says() -> None:
    assert REFERENCE.read_text("utf-8") == reference(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_that_are_shown_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    known = getattr(root, "commands", {})
    text = page.read_text("utf-8")
    shown = re.findall(
        r"(?:^    |`)tallystick ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+))?", text, re.MULTILINE
    )
    for name, inner in shown:
        assert name in known, f"tallystick {name}"
        group = getattr(known[name], "commands", None)
        if group is not None and inner:
            assert inner in group, f"tallystick {name} {inner}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_make_targets_that_are_shown_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for target in re.findall(r"(?:^    |`)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE):
        assert target in targets, target


def test_the_readme_opens_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^    (make \w+)", readme, re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_every_code_of_an_event_is_documented() -> None:
    """Codes stand in the source as literals; those of fields are made of the field's name."""
    page = (ROOT / "docs" / "events.md").read_text("utf-8")
    sources = [
        SOURCE / "pipeline" / "ingest.py",
        SOURCE / "api" / "event_bodies.py",
        SOURCE / "api" / "bodies.py",
        SOURCE / "domain" / "quantity.py",
    ]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    words = "event value time properties unknown invalid not body too empty broken unsupported"
    pattern = rf'"((?:{words.replace(" ", "|")})_\w+)"'
    codes = set(re.findall(pattern, text))
    assert len(codes) >= 15
    for code in sorted(codes):
        assert f"`{code}`" in page, code


def test_every_error_code_of_a_port_is_a_stable_word() -> None:
    from tallystick.ports import errors

    codes = [
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.PortError)
    ]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)
