"""Cursor pagination, newest first, in both directions."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from tallystick.sandbox.state.collection import Identified
from tallystick.sandbox.wire.errors import missing, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallystick.sandbox.state.collection import Collection
    from tallystick.sandbox.wire.operations import Call

T = TypeVar("T", bound=Identified)

LIMIT_DEFAULT = 10
LIMIT_MAX = 100


def read_limit(params: dict[str, Any]) -> int:
    """Return the page size.

    Raises:
        StripeError: 400, outside 1 to 100.
    """
    limit = params.get("limit", LIMIT_DEFAULT)
    if limit < 1:
        raise refused(
            "This value must be greater than or equal to 1.", "limit", "parameter_invalid_integer"
        )
    if limit > LIMIT_MAX:
        raise refused(
            f"This value must be less than or equal to {LIMIT_MAX} (it currently is '{limit}').",
            "limit",
            "parameter_invalid_integer",
        )
    return int(limit)


def _cursor(call: Call, place: Callable[[str], int | None], noun: str) -> tuple[str, int] | None:
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None and before is not None:
        raise refused(
            "Received both starting_after and ending_before parameters. Please pass in only one."
        )
    for name, value in (("starting_after", after), ("ending_before", before)):
        if value is not None:
            found = place(value)
            if found is None:
                raise missing(noun, value, name, status=400)
            return name, found
    return None


def list_page(
    call: Call,
    collection: Collection[T],
    render: Callable[[T], dict[str, Any]],
    *,
    noun: str,
    where: Callable[[T], bool] = lambda _: True,
    **by: object,
) -> dict[str, Any]:
    """Return a page of a collection; ``by`` are equalities that an index may answer."""
    by = {name: value for name, value in by.items() if value is not None}
    candidates = (
        (place, thing)
        for place, thing in collection.newest_first(**by)
        if all(getattr(thing, name) == value for name, value in by.items()) and where(thing)
    )
    return _page(call, candidates, collection.place, render, noun)


def list_of(
    call: Call,
    things: Sequence[T],
    render: Callable[[T], dict[str, Any]],
    *,
    noun: str,
) -> dict[str, Any]:
    """Return a page of things that are already in the order in which they are shown."""
    places = {thing.id: -index for index, thing in enumerate(things)}
    candidates = ((-index, thing) for index, thing in enumerate(things))
    return _page(call, candidates, places.get, render, noun)


def _page(
    call: Call,
    candidates: Iterable[tuple[int, T]],
    place: Callable[[str], int | None],
    render: Callable[[T], dict[str, Any]],
    noun: str,
) -> dict[str, Any]:
    limit = read_limit(call.params)
    cursor = _cursor(call, place, noun)
    if cursor is not None and cursor[0] == "ending_before":
        chosen, has_more = _before(candidates, cursor[1], limit)
    else:
        chosen, has_more = _after(candidates, cursor[1] if cursor else None, limit)
    return {
        "object": "list",
        "data": [render(thing) for thing in chosen],
        "has_more": has_more,
        "url": call.url,
    }


def _after(
    candidates: Iterable[tuple[int, T]], start: int | None, limit: int
) -> tuple[list[T], bool]:
    chosen: list[T] = []
    for place, thing in candidates:
        if start is not None and place >= start:
            continue
        if len(chosen) == limit:
            return chosen, True
        chosen.append(thing)
    return chosen, False


def _before(candidates: Iterable[tuple[int, T]], end: int, limit: int) -> tuple[list[T], bool]:
    nearest: deque[T] = deque(maxlen=limit)
    seen = 0
    for place, thing in candidates:
        if place <= end:
            break
        seen += 1
        nearest.append(thing)
    return list(nearest), seen > limit


def in_range(value: int | None, wanted: Any) -> bool:
    """Say whether an instant passes a ``created``-like filter: an integer or gt/gte/lt/lte."""
    if wanted is None:
        return True
    if value is None:
        return False
    if isinstance(wanted, int):
        return value == wanted
    return bool(
        value > wanted.get("gt", value - 1)
        and value >= wanted.get("gte", value)
        and value < wanted.get("lt", value + 1)
        and value <= wanted.get("lte", value)
    )


def whole_list(rows: list[dict[str, Any]], url: str) -> dict[str, Any]:
    """Return an embedded list object that holds everything."""
    return {
        "object": "list",
        "data": rows,
        "has_more": False,
        "total_count": len(rows),
        "url": url,
    }
