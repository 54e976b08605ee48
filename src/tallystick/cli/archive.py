"""`tallystick archive`: days of raw events in files, for as long as you keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.output import console, error_console, print_json
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from tallystick.pipeline.archive import DayArchived, DayChecked, DayRestored

    Done = TypeVar("Done")

app = typer.Typer(
    help="Old raw events in Parquet files, which are read as if they were in the database.",
    no_args_is_help=True,
)

_JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def run(as_json: bool = _JSON) -> None:
    """Move days that are past the retention from the database to files; exits 1 on a difference.

    Only what is settled leaves: usage of periods that are over, reported, and confirmed by Stripe's
    totals. Ended at any moment and run again, it goes on where it was.

    Example: `tallystick archive run --json`
    """
    with opened() as product:
        product.lateness_tally.keep_up()  # delays are counted from the database alone
        product.day_roller.keep_up()  # months of days that left are read as fast as today
        archiver = product.archiver
        archiver.finish()
        days = archiver.days()
        done = list(_each("archiving", days, archiver.archive))
    ok = not any(each.failures for each in done)
    if as_json:
        print_json({"ok": ok, "days": [_archived_json(each) for each in done]})
    else:
        _print_archived(done)
    if not ok:
        raise typer.Exit(1)


@app.command()
def verify(
    first: str | None = typer.Argument(None, help="The first day, like 2015-05-18; else all."),
    last: str | None = typer.Argument(None, help="The last day; else the first alone."),
    as_json: bool = _JSON,
) -> None:
    """Check the files' checksums, and their events against the rollups; exits 1 and names the file
    or the day of what does not hold.

    Example: `tallystick archive verify 2015-05-01 2015-05-31`
    """
    span = _span(first, last)
    with opened() as product:
        archiver = product.archiver
        done = list(_each("checking", archiver.archived_days(*span), archiver.check))
    ok = not any(each.failures for each in done)
    if as_json:
        print_json({"ok": ok, "days": [_checked_json(each) for each in done]})
    else:
        _print_checked(done)
    if not ok:
        raise typer.Exit(1)


@app.command()
def restore(
    first: str = typer.Argument(..., help="The first day, like 2015-05-18."),
    last: str | None = typer.Argument(None, help="The last day; else the first alone."),
    as_json: bool = _JSON,
) -> None:
    """Put archived days back into the database; exits 1 where a file is damaged.

    The files stay. The next `tallystick archive run` moves the days again, if the retention is the
    same.

    Example: `tallystick archive restore 2015-05-01 2015-05-31`
    """
    span = _span(first, last)
    with opened() as product:
        archiver = product.archiver
        days = archiver.archived_days(*span)
        if not days:
            raise InputError("not_archived", f"nothing is archived of {first} to {last or first}")
        done = list(_each("restoring", days, archiver.restore))
    ok = not any(each.findings for each in done)
    if as_json:
        print_json({"ok": ok, "days": [_restored_json(each) for each in done]})
    else:
        _print_restored(done)
    if not ok:
        raise typer.Exit(1)


def _each(what: str, days: Sequence[int], do: Callable[[int], Done]) -> Iterator[Done]:
    """Do something with each day, with a progress bar on standard error."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console(),
    ) as progress:
        task = progress.add_task(what, total=len(days))
        for day_at in days:
            progress.update(task, description=f"{what} {_day(day_at)}")
            yield do(day_at)
            progress.advance(task)


def _span(first: str | None, last: str | None) -> tuple[int, int]:
    """Return the first and the last day that were asked for; without any, all there can be."""
    from tallystick.domain.instants import DAY_US, parse_instant

    if first is None:
        return -(1 << 62), 1 << 62
    try:
        days = [parse_instant(text) for text in (first, last or first)]
    except ValueError as error:
        raise InputError("invalid_day", f"a day is written like 2015-05-18: {error}") from None
    if any(day % DAY_US for day in days) or days[0] > days[1]:
        raise InputError("invalid_day", f"{first} to {last or first} are no whole days in order")
    return days[0], days[1]


def _day(day_at: int) -> str:
    from tallystick.domain.instants import format_instant

    return format_instant(day_at)[:10]


def _archived_json(each: DayArchived) -> dict[str, Any]:
    return {
        "day": _day(each.day_at),
        "events": each.event_count,
        "size_bytes": each.size_bytes,
        "files": list(each.files),
        "customers_held": dict(sorted(each.held.items())),
        "findings": list(each.findings),
        "failures": each.failures,
    }


def _checked_json(each: DayChecked) -> dict[str, Any]:
    return {
        "day": _day(each.day_at),
        "events": each.event_count,
        "files": list(each.files),
        "findings": list(each.findings),
        "failures": each.failures,
    }


def _restored_json(each: DayRestored) -> dict[str, Any]:
    return {
        "day": _day(each.day_at),
        "events": each.event_count,
        "findings": list(each.findings),
    }


def _print_archived(done: Sequence[DayArchived]) -> None:
    out = console()
    for each in done:
        out.print(f"{_day(each.day_at)}: {each.event_count:,} events, {each.size_bytes:,} bytes")
        for reason, customers in sorted(each.held.items()):
            out.print(f"     held: {customers:,} customers, {reason}")
        _print_findings(each.findings, each.failures)
    events = sum(each.event_count for each in done)
    size_bytes = sum(each.size_bytes for each in done)
    days = sum(bool(each.event_count) for each in done)
    share = f", {size_bytes / events:.1f} an event" if events else ""
    out.print(f"{days:,} days archived: {events:,} events, {size_bytes:,} bytes{share}")


def _print_checked(done: Sequence[DayChecked]) -> None:
    out = console()
    for each in done:
        mark = "[red]FAIL[/red]" if each.failures else "[green]ok[/green]  "
        out.print(f"{mark} {_day(each.day_at)}: {each.event_count:,} events archived")
        _print_findings(each.findings, each.failures)
    if not done:
        out.print("nothing is archived")


def _print_restored(done: Sequence[DayRestored]) -> None:
    for each in done:
        console().print(f"{_day(each.day_at)}: {each.event_count:,} events restored")
        _print_findings(each.findings, len(each.findings))


def _print_findings(findings: Iterable[str], failures: int) -> None:
    shown = list(findings)
    for finding in shown:
        console().print(f"     {finding}", markup=False, soft_wrap=True)
    if failures > len(shown):
        console().print(f"     and {failures - len(shown):,} more")
