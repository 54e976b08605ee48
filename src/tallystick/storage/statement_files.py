"""SQL that lives in files, by name: each statement stands under a ``-- name:`` heading."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def read_statements(backend: str, topic: str) -> dict[str, str]:
    """Return the statements of a backend's ``sql/TOPIC.sql`` by the names of their headings."""
    folder = files(f"tallystick.storage.{backend}").joinpath("sql")
    _, *parts = _HEADER.split(folder.joinpath(f"{topic}.sql").read_text("utf-8"))
    return {
        name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
