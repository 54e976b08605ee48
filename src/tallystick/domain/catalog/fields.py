"""Reading the fields of a catalog's declarations, so that one mistake does not hide the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallystick.domain.catalog.objects import CatalogProblem

if TYPE_CHECKING:
    from tallystick.domain.catalog.objects import Path

KEY_CHARS_MAX = 100
"""Characters of a key: what Stripe takes for an ``event_name`` (``/v1/billing/meters``)."""

KEY_PATTERN = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?"
"""A key is one line of text without blanks around it: existing lookup keys and event names fit."""

_KEY = re.compile(KEY_PATTERN)


class Problems:
    """Collects what is wrong while reading goes on."""

    def __init__(self) -> None:
        self.found: list[CatalogProblem] = []

    def add(self, path: Path, message: str) -> None:
        """Note a problem."""
        self.found.append(CatalogProblem(path, message))


class Fields:
    """The fields of one declaration. Every getter notes what is wrong and returns a stand-in."""

    def __init__(
        self, declared: object, path: Path, known: tuple[str, ...], problems: Problems
    ) -> None:
        self.path = path
        self.problems = problems
        self.is_sound = isinstance(declared, Mapping)
        self.values: Mapping[str, object] = declared if isinstance(declared, Mapping) else {}
        if not self.is_sound:
            problems.add(path, "must be fields with their values")
        for field in self.values:
            if field not in known:
                self.wrong(str(field), f"is not a field; known: {', '.join(known)}")

    def wrong(self, name: str, message: str) -> None:
        """Note a problem of a field."""
        self.problems.add((*self.path, name), message)

    def has(self, name: str) -> bool:
        """Tell whether the field is there with a value."""
        return self.values.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text that is not blank; without ``default`` it must be there."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value.strip():
            return value
        self.wrong(name, "a text is needed")
        return default or ""

    def optional_text(self, name: str) -> str | None:
        """Return a text that may be left out."""
        return self.text(name) if self.has(name) else None

    def whole(self, name: str, default: int | None, least: int, most: int) -> int:
        """Return a whole number in a range; without ``default`` it must be there."""
        value = self.values.get(name, default)
        stand_in = least if default is None else default
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(name, f"{value!r} is not a whole number")
            return stand_in
        if not least <= value <= most:
            self.wrong(name, f"{value} is not between {least} and {most}")
            return stand_in
        return value

    def truth(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(name, default)
        if isinstance(value, bool):
            return value
        self.wrong(name, f"{value!r} is neither true nor false")
        return default

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Return one of a closed set of words; without ``default`` it must be there."""
        value = self.values.get(name, default)
        if isinstance(value, str) and value in choices:
            return value
        self.wrong(name, f"{value!r} is not one of: {', '.join(choices)}")
        return default or choices[0]

    def named(self, name: str, chars_max: int = KEY_CHARS_MAX) -> list[tuple[str, object]]:
        """Return the declarations of a section by their keys."""
        path = (*self.path, name)
        section = self.values.get(name)
        if section is None:
            return []
        if not isinstance(section, Mapping):
            self.problems.add(path, "must be keys with their declarations")
            return []
        found = []
        for key, declared in section.items():
            if isinstance(key, str) and len(key) <= chars_max and _KEY.fullmatch(key):
                found.append((key, declared))
            else:
                message = f"a key is one line of text, at most {chars_max} characters"
                self.problems.add((*path, str(key)), message)
        return found

    def listed(self, name: str) -> list[object]:
        """Return the rows of a list."""
        rows = self.values.get(name)
        if rows is None:
            return []
        if isinstance(rows, list):
            return rows
        self.wrong(name, "must be a list")
        return []
