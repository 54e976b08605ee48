"""`tallystick inbox`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from tallystick.ports.inbox import InboxEvent, InboxState

app = typer.Typer(help="What Stripe told, by webhooks and sweeps.", no_args_is_help=True)

EVENT_COLUMNS = ("event", "type", "state", "brought", "received", "attempts")


@app.callback()
def _inbox() -> None:
    """What Stripe told, by webhooks and sweeps."""


@app.command(name="list")
def list_(
    state: str | None = typer.Option(None, help="Only waiting, settled or dead ones."),
    limit: int = typer.Option(50, min=1, max=10_000, help="Events shown at most, newest first."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List events, newest first.

    Example: `tallystick inbox list --state waiting`
    """
    with opened() as product:
        events = product.inbox.events(_state(state), limit)
        counts = product.inbox.counts()
    if as_json:
        print_json({"counts": counts, "events": [_event_json(event) for event in events]})
        return
    _print_events(events)
    shown = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))
    console().print(shown or "the inbox is empty")


@app.command()
def show(
    event_id: str = typer.Argument(..., help="The event's id, like `evt_...`."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show an event with its whole body.

    Example: `tallystick inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy`
    """
    with opened() as product:
        event = product.inbox_reader.find(event_id)
    if event is None:
        raise InputError("no_such_event", f"no event {event_id} has arrived")
    shown = {**_event_json(event), "body": json.loads(event.body)}
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        if name != "body":
            console().print(f"{name}: {value}", markup=False)
    console().print_json(event.body.decode())


@app.command()
def replay(
    event_ids: list[str] = typer.Argument(None, help="Events to deal with again."),
    dead: bool = typer.Option(False, "--dead", help="All that were given up on."),
    limit: int = typer.Option(1_000, min=1, max=10_000, help="Dead events replayed at most."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Deal with events again, from the beginning; repeating that changes nothing more.

    Example: `tallystick inbox replay --dead`
    """
    from tallystick.ports.inbox import InboxState

    if bool(event_ids) == dead:
        raise InputError("what_to_replay", "give ids of events, or --dead for all dead ones")
    with opened() as product:
        wanted = event_ids or [
            event.event_id for event in product.inbox.events(InboxState.DEAD, limit)
        ]
        found = product.inbox.replay(wanted, product.clock.now())
        if event_ids and not found:
            raise InputError("no_such_event", "none of these events has arrived")
        outcomes = product.inbox_worker.run()
    shown = {"replayed": found, "outcomes": dict(outcomes)}
    if as_json:
        print_json(shown)
    else:
        said = ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items()))
        console().print(f"{found:,} replayed: {said or 'nothing was due'}")
    if outcomes["dead"] or outcomes["waiting"]:
        raise typer.Exit(1)


@app.command()
def dead(
    limit: int = typer.Option(50, min=1, max=10_000, help="Events shown at most, newest first."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List events that were given up on, and why; exits 1 if there are any.

    Example: `tallystick inbox dead`
    """
    from tallystick.ports.inbox import InboxState

    with opened() as product:
        events = product.inbox.events(InboxState.DEAD, limit)
        count = product.inbox.counts().get(InboxState.DEAD, 0)
    if as_json:
        print_json({"dead": count, "events": [_event_json(event) for event in events]})
    elif not count:
        console().print("no event was given up on")
    else:
        _print_events(events)
        for event in events:
            console().print(f"{event.event_id}: {event.reason}", markup=False)
    if count:
        raise typer.Exit(1)


@app.command()
def errors(
    after: int = typer.Option(0, min=0, help="From beyond this number."),
    limit: int = typer.Option(50, min=1, max=10_000, help="Reports shown at most, oldest first."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List Stripe's reports of meter events that it did not count, whole as they were fetched.

    Example: `tallystick inbox errors`
    """
    with opened() as product:
        found = product.meter_errors.after(after, limit)
    shown = [
        {
            "number": error.seq,
            "event": error.event_id,
            "type": error.type,
            "meter": error.stripe_meter_id,
            "body": json.loads(error.body),
        }
        for error in found
    ]
    if as_json:
        print_json({"meter_errors": shown})
        return
    for one in shown:
        data = one["body"].get("data") or {}
        said = data.get("developer_message_summary", "")
        console().print(f"{one['number']}  {one['type']}  {one['meter'] or ''}  {said}")
    if not shown:
        console().print("Stripe reported no meter error")


def _state(text: str | None) -> InboxState | None:
    from tallystick.ports.inbox import InboxState

    if text is None:
        return None
    try:
        return InboxState(text)
    except ValueError:
        raise InputError(
            "invalid_state", f"state is {text!r}; it can be {', '.join(InboxState)}"
        ) from None


def _event_json(event: InboxEvent) -> dict[str, Any]:
    from tallystick.domain.instants import format_instant

    return {
        "event": event.event_id,
        "type": event.type,
        "state": event.state.value,
        "brought": event.brought.value,
        "received": format_instant(event.received_at),
        "attempts": event.attempts,
        "api_version": event.api_version,
        "reason": event.reason,
    }


def _print_events(events: list[InboxEvent]) -> None:
    rows = [[str(_event_json(event)[name]) for name in EVENT_COLUMNS] for event in events]
    print_table("events", EVENT_COLUMNS, rows)
