"""`tallystick keys`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from tallystick.cli.output import console, print_json, print_table
from tallystick.cli.session import InputError, opened

if TYPE_CHECKING:
    from tallystick.domain.api_keys import Scope

SCOPES = "`ingest`, `read`, `operate` or `admin`"

_DURATION = re.compile(r"([1-9][0-9]{0,4})([dh])")

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.callback()
def _keys() -> None:
    """API keys."""


@app.command()
def create(
    name: str = typer.Argument(..., help="What the key is for, like `production`."),
    scope: list[str] = typer.Option(
        [],
        "--scope",
        help=f"What it may do: {SCOPES}; several times for several. Else `ingest` and `read`, or "
        "`ingest` alone with --source.",
    ),
    expires: str | None = typer.Option(
        None, help="Until when it may be used: 90d, 12h, a date or RFC 3339. Else for ever."
    ),
    source: str | None = typer.Option(
        None, help="The only source whose events it may send and correct. Else any."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make an API key. It is printed once; only its digest is kept.

    Example: `tallystick keys create production --scope ingest --expires 90d`
    """
    from tallystick.oversight.key_ring import KeyRefused, KeyRing, key_view

    scopes = [_scope(each) for each in scope]
    with opened() as product:
        now = product.clock.now()
        expires_at = _expiry(expires, now) if expires else None
        ring = KeyRing(product.api_keys, product.clock)
        try:
            key, shown = ring.create(name, scopes, source=source, expires_at=expires_at)
        except KeyRefused as error:
            raise InputError(error.code, str(error)) from None
    if as_json:
        print_json({"key": shown, **key_view(key, now)})
    else:
        console().print(shown, markup=False, soft_wrap=True)


@app.command(name="list")
def list_(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List every key that there ever was; what clients show is not kept.

    Example: `tallystick keys list`
    """
    from tallystick.oversight.key_ring import KeyRing

    with opened() as product:
        keys = KeyRing(product.api_keys, product.clock).listed()
    if as_json:
        print_json({"keys": keys})
        return
    rows = [
        (
            each["name"],
            each["id"],
            each["status"],
            " ".join(each["scopes"]),
            each["source"] or "any",
            each["expires_at"] or "never",
            each["last_used_at"] or "never",
        )
        for each in keys
    ]
    columns = ("name", "id", "status", "scopes", "source", "expires", "last used")
    print_table("API keys", columns, rows)


@app.command()
def revoke(
    key: str = typer.Argument(..., help="The key's id; or its name, if one of it is in use."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """End a key for ever. Running servers refuse it within a second.

    Example: `tallystick keys revoke key_0f3a9c21b7d84e55`
    """
    from tallystick.oversight.key_ring import KeyRefused, KeyRing

    with opened() as product:
        try:
            revoked = KeyRing(product.api_keys, product.clock).revoke(key)
        except KeyRefused as error:
            raise InputError(error.code, str(error)) from None
    if as_json:
        print_json(revoked)
    else:
        console().print(f"{revoked['id']} ({revoked['name']}): revoked", markup=False)


def _scope(text: str) -> Scope:
    from tallystick.domain.api_keys import Scope

    try:
        return Scope(text)
    except ValueError:
        known = ", ".join(Scope)
        raise InputError("unknown_scope", f"there is no scope {text!r}; scopes: {known}") from None


def _expiry(text: str, now: int) -> int:
    """Return the instant that is meant: so many days or hours from now, or a time."""
    from tallystick.domain.instants import DAY_US, HOUR_US, parse_instant

    duration = _DURATION.fullmatch(text)
    if duration:
        return now + int(duration[1]) * (DAY_US if duration[2] == "d" else HOUR_US)
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise InputError(
            "invalid_expiry", f"{text!r} is neither a time nor a duration like 90d or 12h"
        ) from None
