"""`tallystick dead`."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import typer

from tallystick.cli.output import console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.billing.dead_letters import Remedied
    from tallystick.ports.outbox import Decision, StuckFilter
    from tallystick.wiring import Tallystick

LIST_LIMIT = 50
BULK_LIMIT = 100

app = typer.Typer(
    help="Reports that stand still: dead, unresolved and parked ones.", no_args_is_help=True
)

_STATE = typer.Option(None, "--state", help="Only `dead`, `unresolved` or `parked` ones.")
_CUSTOMER = typer.Option(None, "--customer", help="Only this customer's.")
_METER = typer.Option(None, "--meter", help="Only this meter's.")
_CAUSE = typer.Option(None, "--cause", help="Only those whose reason begins so.")
_IDS = typer.Argument(None, metavar="[ID]...", help="Which reports; else --all with filters.")
_ALL = typer.Option(False, "--all", help="Every report that the filters choose, up to --limit.")
_LIMIT = typer.Option(BULK_LIMIT, "--limit", min=1, max=1000, help="Reports at most.")
_REASON = typer.Option(..., "--reason", help="Why; it is kept with your name.")
_ACTOR = typer.Option(None, "--actor", help="Who decides; else the name you are logged in by.")
_JSON = typer.Option(False, "--json", help="Print JSON.")


@app.callback()
def _dead() -> None:
    """Reports that stand still: dead, unresolved and parked ones."""


@app.command(name="list")
def list_(
    state: str | None = _STATE,
    customer: str | None = _CUSTOMER,
    meter: str | None = _METER,
    cause: str | None = _CAUSE,
    limit: int = typer.Option(LIST_LIMIT, "--limit", min=1, max=1000, help="Reports at most."),
    after: int = typer.Option(0, "--after", help="Only reports with greater ids."),
    as_json: bool = _JSON,
) -> None:
    """List what Stripe was not told, with reason, age and the money at stake.

    Example: `tallystick dead list --state dead`
    """
    from tallystick.oversight.dead_letter_view import letter_view

    chosen = _filter(state, customer, meter, cause)
    with opened() as product:
        letters = product.dead_letters.listed(chosen, after, limit)
        total = product.dead_letters.count(chosen)
    rows = [letter_view(letter) for letter in letters]
    if as_json:
        print_json({"total": total, "dead_letters": rows})
        return
    print_table(
        f"{len(rows):,} of {total:,} reports that stand still",
        ("id", "state", "customer", "meter", "quantity", "at stake", "age", "reason"),
        [
            (
                str(row["id"]),
                row["state"],
                row["customer"],
                row["meter"],
                row["quantity"],
                row["at_stake"]["shown"] if row["at_stake"] else "?",
                row["age"],
                row["reason"] or "",
            )
            for row in rows
        ],
    )


@app.command()
def show(
    report_id: int = typer.Argument(..., metavar="ID", help="The report's id."),
    as_json: bool = _JSON,
) -> None:
    """Show one report with everything that is known of it, and what was decided about it.

    Example: `tallystick dead show 17`
    """
    from tallystick.oversight.dead_letter_view import letter_view

    with opened() as product:
        found = product.dead_letters.shown(report_id)
    if found is None:
        raise InputError("no_report", f"there is no report {report_id}")
    letter, decisions = found
    shown: dict[str, Any] = letter_view(letter, decisions)
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        console().print(f"{name}: {value}", markup=False, soft_wrap=True)


@app.command()
def retry(
    report_ids: list[int] | None = _IDS,
    everything: bool = _ALL,
    state: str | None = _STATE,
    customer: str | None = _CUSTOMER,
    meter: str | None = _METER,
    cause: str | None = _CAUSE,
    limit: int = _LIMIT,
    reason: str = _REASON,
    actor: str | None = _ACTOR,
    surely_missing: bool = typer.Option(
        False, "--surely-missing", help="Also unresolved ones: you know that Stripe lacks them."
    ),
    as_json: bool = _JSON,
) -> None:
    """Drive reports again, each as a new report; exits 1 if some of them cannot be.

    Example: `tallystick dead retry --all --cause "refused: resource" --reason "link mended"`
    """
    chosen = _filter(state, customer, meter, cause)
    with opened() as product:
        ids = _chosen(product, report_ids or [], chosen, limit if everything else None)
        done = product.dead_letters.retry(
            ids, _decision(product, actor, reason), surely_missing=surely_missing
        )
        left = product.dead_letters.count(chosen)
    _print_remedied(done, left, as_json=as_json)


@app.command()
def settle(
    report_ids: list[int] | None = _IDS,
    as_: str = typer.Option(..., "--as", help="`delivered`: Stripe has it; `waived`: it need not."),
    everything: bool = _ALL,
    state: str | None = _STATE,
    customer: str | None = _CUSTOMER,
    meter: str | None = _METER,
    cause: str | None = _CAUSE,
    limit: int = _LIMIT,
    reason: str = _REASON,
    actor: str | None = _ACTOR,
    as_json: bool = _JSON,
) -> None:
    """End reports without telling Stripe; exits 1 if some of them were not stuck.

    Example: `tallystick dead settle 17 --as waived --reason "agreed with the customer"`
    """
    from tallystick.domain.reports import ReportState

    if as_ not in (ReportState.DELIVERED, ReportState.WAIVED):
        raise InputError("bad_state", f"--as is {as_!r}; delivered and waived are what it can be")
    chosen = _filter(state, customer, meter, cause)
    with opened() as product:
        ids = _chosen(product, report_ids or [], chosen, limit if everything else None)
        decision = _decision(product, actor, reason)
        done = product.dead_letters.settle(ids, ReportState(as_), decision)
        left = product.dead_letters.count(chosen)
    _print_remedied(done, left, as_json=as_json)


def _filter(
    state: str | None, customer: str | None, meter: str | None, cause: str | None
) -> StuckFilter:
    from tallystick.domain.reports import STUCK, ReportState
    from tallystick.ports.outbox import StuckFilter

    if state is not None and state not in STUCK:
        raise InputError("bad_state", f"--state is {state!r}; it can be {', '.join(STUCK)}")
    return StuckFilter(ReportState(state) if state else None, customer, meter, cause)


def _chosen(
    product: Tallystick, ids: Sequence[int], chosen: StuckFilter, limit: int | None
) -> list[int]:
    """Return the ids that were typed, or those that the filters choose."""
    if bool(ids) == (limit is not None):
        raise InputError("nothing_chosen", "name reports by their ids, or say --all")
    if limit is None:
        return list(ids)
    return [report.id for report in product.stuck_reports.find(chosen, 0, limit)]


def _decision(product: Tallystick, actor: str | None, reason: str) -> Decision:
    from tallystick.ports.outbox import Decision

    if not reason.strip():
        raise InputError("reason_missing", "--reason says why, for whoever asks later")
    return Decision(actor or getpass.getuser(), reason, product.clock.now())


def _print_remedied(done: Sequence[Remedied], left: int, *, as_json: bool) -> None:
    from tallystick.billing.dead_letters import MOVED_ON

    if as_json:
        print_json({"reports": [each._asdict() for each in done], "left": left})
    else:
        for each in done:
            console().print(f"{each.report_id}: {each.remedy}", markup=False)
        console().print(f"{left:,} of the chosen kind stand still")
    if any(each.remedy not in MOVED_ON for each in done):
        raise typer.Exit(1)
