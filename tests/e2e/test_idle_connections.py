"""Connections that are kept between requests, and a server that was kept from running."""

from __future__ import annotations

import http.client
import os
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tallystick.cli.local_servers import LocalServer
from tests.fixtures.commands import answer_of
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

STANDSTILL_SECONDS = 6
"""More than uvicorn would let a connection be idle."""


def test_what_is_sent_while_a_server_stands_still_is_answered(tmp_path: Path) -> None:
    """To a server that goes on again the connection has been idle, and the request is there."""
    environment = {"TALLYSTICK_DATABASE_URL": f"sqlite:///{tmp_path / 'tallystick.db'}"}
    answer_of("init", environment=environment)
    with LocalServer("server", ["serve", "--port", "0"], environment, tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        kept = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
        with closing(kept):
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                kept.request("GET", "/healthz")
                time.sleep(STANDSTILL_SECONDS)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert kept.getresponse().status == 200
