"""The command line: every command, and what its exit code means.

0 fine; 1 a difference or a failed check; 2 bad input; 3 something cannot be reached.
"""

from __future__ import annotations

import sys

import typer

from tallystick.cli import (
    archive,
    backups,
    catalog,
    correcting,
    customers,
    dead,
    demo,
    doctor,
    importing,
    inbox,
    keys,
    lateness,
    moving,
    rate,
    reading,
    reporting,
    sandbox,
    serving,
    sync,
    verifying,
    webhooks,
    whatif,
    works,
)
from tallystick.cli.output import error_console, print_json

EXIT_DIFFERENCE = 1
EXIT_BAD_INPUT = 2
EXIT_UNREACHABLE = 3

EXTRAS = {"psycopg": "postgres", "psycopg_pool": "postgres", "pyarrow": "parquet"}
"""What installs a module that is missing; the server's are all others."""

app = typer.Typer(
    name="tallystick",
    help="Metered billing on Stripe: every event counted once, every invoice explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command()(serving.init)
app.command()(serving.serve)
app.command()(works.worker)
app.add_typer(keys.app, name="keys")
app.add_typer(customers.app, name="customers")
app.command()(sync.sync)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(inbox.app, name="inbox")
app.command()(catalog.plan)
app.command()(catalog.apply)
app.command()(catalog.drift)
app.command()(catalog.pull)
app.command()(catalog.schema)
app.command(name="import")(importing.import_)
app.command()(backups.backup)
app.command()(backups.restore)
app.command(name="migrate-database")(moving.migrate_database)
app.add_typer(archive.app, name="archive")
app.add_typer(correcting.app, name="events")
app.command()(reading.usage)
app.command()(lateness.lateness)
app.command()(reading.preview)
app.command()(rate.rate)
app.command()(whatif.whatif)
app.command()(reporting.flush)
app.command()(reporting.outbox)
app.add_typer(dead.app, name="dead")
app.command()(verifying.verify)
app.command()(sandbox.sandbox)
app.command()(demo.demo)
app.command()(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        import tallystick

        typer.echo(f"tallystick {tallystick.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version."
    ),
) -> None:
    del version  # its callback has seen to it


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("tallystick"):
            raise
        extra = EXTRAS.get((error.name or "").partition(".")[0], "server")
        _fail("not_installed", f"{error.name} is missing: pip install 'tallystick[{extra}]'", 2)
    except (ValueError, OSError, RuntimeError, Exception) as error:
        code, exit_code = _judged(error)
        if exit_code is None:
            raise
        _fail(code, str(error), exit_code, **_members(error))


def _members(error: Exception) -> dict[str, object]:
    """Return what else an error says to programs: of a catalog, each problem with its place."""
    from tallystick.domain.catalog.objects import CatalogError

    if not isinstance(error, CatalogError):
        return {}
    from tallystick.cli.catalog_output import problem_json

    return {"problems": [problem_json(problem) for problem in error.problems]}


def _judged(error: Exception) -> tuple[str, int | None]:
    """Return the stable code of an error that was foreseen, and the exit code it means."""
    from tallystick.cli.session import InputError
    from tallystick.client.connection import ServerRefused, ServerUnreachable
    from tallystick.config import ConfigError
    from tallystick.domain.catalog.objects import CatalogError
    from tallystick.ports import errors

    if isinstance(error, errors.StripeUnreachable | errors.StoreUnavailable | errors.StoreUnusable):
        return error.code, EXIT_UNREACHABLE
    if isinstance(error, errors.PortError | InputError):
        return error.code, EXIT_BAD_INPUT
    if isinstance(error, ServerUnreachable):
        return "server_unreachable", EXIT_UNREACHABLE
    named = {ConfigError: "bad_settings", CatalogError: "bad_catalog", ServerRefused: "refused"}
    for kind, code in named.items():
        if isinstance(error, kind):
            return code, EXIT_BAD_INPUT
    return "unforeseen", None


def _fail(code: str, message: str, exit_code: int, **members: object) -> None:
    if "--json" in sys.argv:
        print_json({"error": {"code": code, "message": message, **members}})
    else:
        error_console().print(f"[red]error[/red] ({code}): ", end="")
        error_console().print(message, markup=False, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
