"""Form bodies and queries with nested keys: ``items[0][price]=price_1``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

from tallystick.sandbox.wire.errors import refused

FIELDS_MAX = 2_000
"""Fields of one request."""

DEPTH_MAX = 12
"""Brackets in one key."""


def decode_form(text: str) -> dict[str, Any]:
    """Return nested dicts; ``a[0]`` gives a dict with key ``"0"``, ``a[]`` a list.

    Raises:
        StripeError: 400 when keys contradict each other or are too many.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise refused("Invalid request: the body has too many fields.") from error
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if "\x00" in value or "\x00" in key:
            raise refused(f"Invalid string: {value!r}; must not contain null bytes", param=key)
        if "[" in key:
            _place(tree, key, value)
        else:
            tree[key] = value
    return tree


def _segments(key: str) -> list[str]:
    head, _, rest = key.partition("[")
    if not rest.endswith("]") or not head:
        raise refused(f"Received unknown parameter: {key}", param=key, code="parameter_unknown")
    segments = [head, *rest[:-1].split("][")]
    if len(segments) > DEPTH_MAX:
        raise refused(f"Received unknown parameter: {key}", param=key, code="parameter_unknown")
    return segments


def _place(tree: dict[str, Any], key: str, value: str) -> None:
    segments = _segments(key)
    node: Any = tree
    for here, following in pairwise(segments):
        node = _descend(node, here, following, key)
    last = segments[-1]
    if isinstance(node, list):
        if last != "":
            raise refused(f"Invalid array: {key}", param=key)
        node.append(value)
    elif last == "" or isinstance(node.get(last), dict | list):
        raise refused(f"Invalid object: {key}", param=key)
    else:
        node[last] = value


def _descend(node: Any, here: str, following: str, key: str) -> Any:
    """Return the container below ``node``; a repeated ``a[][b]`` starts a new element."""
    fresh: Any = [] if following == "" else {}
    if isinstance(node, list):
        if here != "":
            raise refused(f"Invalid array: {key}", param=key)
        if not node or not isinstance(node[-1], dict) or following in node[-1]:
            node.append(fresh)
        return node[-1]
    child = node.setdefault(here, fresh)
    if not isinstance(child, dict | list) or isinstance(child, list) != isinstance(fresh, list):
        raise refused(f"Invalid object: {key}", param=key)
    return child
