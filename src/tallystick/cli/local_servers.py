"""Servers that a command starts for itself, on free loopback ports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from tallystick.ports.errors import StripeUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 120.0
"""A server that is told to stop answers and writes what it has begun: one that is killed instead
because its machine is slow would leave that undone."""

_POLL_SECONDS = 0.02
READY = "listening on "
"""What a server prints when it serves, and where; others print other things."""


class LocalServer:
    """A `tallystick` command that serves until it is stopped; its output goes to a log file.

    A session of its own keeps it running after the command that started it, where that is wanted.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        ready: str = READY,
    ) -> None:
        self.name = name
        self._ready = ready
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [sys.executable, "-m", "tallystick.cli.main", *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.url = self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def stop(self) -> None:
        """Ask the server to stop, and see to it that it does."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> str:
        give_up_at = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < give_up_at:
            said = self.log.read_text("utf-8", "replace")
            for line in said.splitlines():
                if line.startswith(self._ready):
                    return line.removeprefix(self._ready).strip()
            if self._process.poll() is not None:
                break
            time.sleep(_POLL_SECONDS)
        raise StripeUnreachable(
            f"the {self.name} did not start: {self.log.read_text('utf-8', 'replace')[-500:]}"
        )
