"""Logs follow standard error, also when it is replaced after they were set up."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import structlog

from tallystick.observability.logs import configure_logs

if TYPE_CHECKING:
    import pytest


def test_a_line_goes_to_the_standard_error_of_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    monkeypatch.setattr(sys, "stderr", gone)
    configure_logs()
    log = structlog.get_logger("test")
    log.info("first")
    now = io.StringIO()
    monkeypatch.setattr(sys, "stderr", now)
    gone.close()
    log.info("second", customer="acme")
    try:
        assert '"customer": "acme"' in now.getvalue()
        assert '"event": "second"' in now.getvalue()
    finally:
        structlog.reset_defaults()
