"""Reading the sources of a catalog: what is special about who sends events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.domain.catalog.fields import Fields
from tallystick.domain.catalog.objects import EventSource
from tallystick.domain.events import NAME_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_FIELDS = ("derive_ids",)


def read_sources(root: Fields) -> Iterator[EventSource]:
    """Yield what the section ``sources`` declares."""
    for name, declared in root.named("sources", NAME_CHARS_MAX):
        fields = Fields(declared, ("sources", name), SOURCE_FIELDS, root.problems)
        yield EventSource(name, fields.truth("derive_ids", default=False))
