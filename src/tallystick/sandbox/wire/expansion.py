"""``expand``: ids replaced by their objects, and fields that only appear on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick.sandbox.wire.errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], dict[str, Any] | None]
    Include = Callable[[dict[str, Any]], Any]

DEPTH_MAX = 4
"""DOC:api/expanding_objects: "a maximum depth of four levels"."""


class Expander:
    """Expands paths in rendered objects.

    ``lookups`` says by a field's name which object an id is; ``includes`` says by (object, field)
    how to make a field that is left out unless asked for.
    """

    def __init__(
        self, lookups: dict[str, Lookup], includes: dict[tuple[str, str], Include]
    ) -> None:
        self._lookups = lookups
        self._includes = includes

    def expand(self, body: dict[str, Any], paths: list[str]) -> None:
        """Expand in place.

        Raises:
            StripeError: 400, too deep or nothing that can be expanded.
        """
        for path in paths:
            segments = path.split(".")
            depth = len(segments) - (1 if segments[0] == "data" else 0)
            if depth > DEPTH_MAX + 1:
                raise refused(
                    f"You cannot expand more than {DEPTH_MAX} levels of a property. "
                    f"Property: {path}",
                    "expand",
                )
            self._expand(body, segments, path)

    def _expand(self, node: Any, segments: list[str], path: str) -> None:
        if isinstance(node, list):
            for child in node:
                self._expand(child, segments, path)
            return
        if not segments or not isinstance(node, dict):
            return
        name, rest = segments[0], segments[1:]
        if name not in node and not self._include(node, name):
            raise refused(f"This property cannot be expanded ({path}).", "expand")
        value = node[name]
        if isinstance(value, str):
            value = node[name] = self._found(name, value, path)
        elif isinstance(value, list) and name in self._lookups:
            node[name] = value = [
                self._found(name, item, path) if isinstance(item, str) else item for item in value
            ]
        self._expand(value, rest, path)

    def _include(self, node: dict[str, Any], name: str) -> bool:
        include = self._includes.get((str(node.get("object")), name))
        if include is None:
            return False
        node[name] = include(node)
        return True

    def _found(self, name: str, id_: str, path: str) -> Any:
        lookup = self._lookups.get(name)
        if lookup is None:
            raise refused(f"This property cannot be expanded ({path}).", "expand")
        return lookup(id_) or id_
