"""How catalog changes and warnings are printed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tallystick.cli.output import console, error_console
from tallystick.domain.catalog.diff import Action, Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tallystick.domain.catalog.objects import CatalogProblem

_SIGNS = {Action.CREATE: "+", Action.CHANGE: "~", Action.REPLACE: "±", Action.ARCHIVE: "-"}
_PLANNED = {
    Action.CREATE: "to create",
    Action.REPLACE: "to replace by a new version",
    Action.CHANGE: "to change",
    Action.ARCHIVE: "to archive",
}
_DONE = {
    Action.CREATE: "created",
    Action.REPLACE: "replaced by a new version",
    Action.CHANGE: "changed",
    Action.ARCHIVE: "archived",
}
_NONE = "(none)"


def change_json(change: Change) -> dict[str, Any]:
    """Return a change for programs."""
    return {
        "action": change.action,
        "object": change.kind,
        "key": change.key,
        "stripe_id": change.stripe_id,
        "fields": [each._asdict() for each in change.fields],
        "subscriptions": change.subscriptions,
    }


def problem_json(problem: CatalogProblem) -> dict[str, Any]:
    """Return a problem or warning for programs."""
    place = problem.position
    return {
        "file": place.file if place else None,
        "line": place.line if place else None,
        "field": problem.field,
        "message": problem.message,
    }


def print_changes(changes: Sequence[Change], *, are_made: bool) -> None:
    """Print changes as a diff, and how many there are, or were made, of each kind."""
    out = console()
    for change in changes:
        for line in _change_lines(change):
            out.print(line, markup=False, soft_wrap=True)
    counts = Counter(change.action for change in changes)
    words = _DONE if are_made else _PLANNED
    parts = [f"{counts[action]} {word}" for action, word in words.items() if counts[action]]
    out.print(", ".join(parts) if parts else "nothing to change: Stripe has all of it")


def print_warnings(warnings: Iterable[CatalogProblem]) -> None:
    """Print warnings where errors go: they are no part of the answer."""
    for warning in warnings:
        error_console().print(f"warning: {warning}", markup=False, soft_wrap=True)


def print_undeclared(undeclared: Sequence[str]) -> None:
    """Say which applied prices a catalog leaves out."""
    for key in undeclared:
        console().print(
            f"price {key} was applied before and is not declared now: it stays as it is "
            "(--prune archives it)",
            markup=False,
            soft_wrap=True,
        )


def _change_lines(change: Change) -> Iterable[str]:
    told = {
        Action.REPLACE: "  new version: what differs cannot be changed at Stripe",
        Action.ARCHIVE: "  archived: nobody can subscribe to it any more",
    }.get(change.action, "")
    yield f"{_SIGNS[change.action]} {change}{told}"
    width = max((len(each.field) for each in change.fields), default=0)
    for each in change.fields:
        before = _NONE if each.before is None else each.before
        after = _NONE if each.after is None else each.after
        shown = after if change.action is Action.CREATE else f"{before} -> {after}"
        yield f"    {each.field:<{width}}  {shown}"
    if change.subscriptions is not None:
        yield f"    {_kept(change)}"


def _kept(change: Change) -> str:
    count = change.subscriptions
    if not count:
        return f"{change.stripe_id} is archived; no subscription is on it"
    words = "1 subscription keeps" if count == 1 else f"{count} subscriptions keep"
    return f"{change.stripe_id} is archived; {words} it until moved"
