"""SQL that lives in files, by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements(topic: str) -> dict[str, str]:
    """Return the statements of ``sql/TOPIC.sql`` by the names that their headers give."""
    text = files("tallystick.storage.sqlite").joinpath("sql", f"{topic}.sql").read_text("utf-8")
    _, *parts = _HEADER.split(text)
    return {
        name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
