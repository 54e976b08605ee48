"""`tallystick keys`."""

from __future__ import annotations

import typer

from tallystick.cli.output import console, print_json
from tallystick.cli.session import InputError, opened

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.callback()
def _keys() -> None:
    """API keys."""


@app.command()
def create(
    name: str = typer.Argument(..., help="What the key is for, like `production`."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make an API key. It is printed once; only its digest is kept.

    Example: `tallystick keys create production`
    """
    from tallystick.domain.api_keys import digest_of, new_key

    if not name.strip():
        raise InputError("name_missing", "a key needs a name that says what it is for")
    key = new_key()
    with opened() as product:
        key_id = product.installation.add_key(name, digest_of(key), product.clock.now())
    if as_json:
        print_json({"id": key_id, "name": name, "key": key})
    else:
        console().print(key, markup=False, soft_wrap=True)
