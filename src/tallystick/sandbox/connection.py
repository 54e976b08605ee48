"""A connection that can be cut, as networks do: without an answer, or after the work was done."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CUT = "tallystick.sandbox.cut"
"""Name in the ASGI scope's extensions of the function that cuts the connection."""


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also hands the application a way to drop the connection."""

    def on_message_begin(self) -> None:
        """Prepare the request's scope."""
        super().on_message_begin()
        extensions: dict[str, Any] = {CUT: {"cut": self._cut}}
        self.scope["extensions"] = extensions

    def _cut(self) -> None:
        self.transport.abort()
