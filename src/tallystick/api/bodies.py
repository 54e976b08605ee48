"""Request bodies: read within limits, and unpacked."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from tallystick.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Receive

BODY_BYTES_MAX = 10 * 1024 * 1024
"""Bytes of one request after decompression: about 30,000 events."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # 16 asks zlib for the gzip format


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Return the request's body, decompressed.

    The limit holds before and after decompression, and is checked while reading: a body that is too
    large is never held whole.

    Raises:
        Problem: 413, 415 for an encoding other than gzip, 400 for broken gzip.
    """
    return await read_sent_body(dict(request.scope["headers"]), request.receive, bytes_max)


async def read_sent_body(
    headers: Mapping[bytes, bytes], receive: Receive, bytes_max: int = BODY_BYTES_MAX
) -> bytes:
    """Do the same where there is no request object.

    Raises:
        Problem: see ``read_body``.
        ClientDisconnect: the client left before the end.
    """
    unpacked = unpacking_of(headers, bytes_max)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        unpacked.feed(message.get("body", b""))
        if not message.get("more_body", False):
            return unpacked.finish()


def unpacking_of(headers: Mapping[bytes, bytes], bytes_max: int = BODY_BYTES_MAX) -> PlainBody:
    """Return what a request's body is fed to, part by part, and that returns all of it at the end.

    Raises (it too):
        Problem: see ``read_body``.
    """
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Problem(
            415, "unsupported_encoding", f"Content-Encoding {encoding!r} is not read; use gzip"
        )
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    return _GzipBody(bytes_max) if "gzip" in encoding else PlainBody(bytes_max)


class PlainBody:
    """A body as it is sent."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Add a part.

        Raises:
            Problem: 413, or 400 for broken gzip.
        """
        if len(self._body) + len(chunk) > self._bytes_max:
            raise _too_large(self._bytes_max)
        self._body += chunk

    def finish(self) -> bytes:
        """Return the whole.

        Raises:
            Problem: 400 for gzip that ends early.
        """
        return bytes(self._body)


class _GzipBody(PlainBody):
    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self._gzip = zlib.decompressobj(_GZIP_WINDOW)

    def feed(self, chunk: bytes) -> None:
        try:
            # one byte more than may be, so that a bomb is noticed without being unpacked
            room = self._bytes_max - len(self._body) + 1
            super().feed(self._gzip.decompress(chunk, room))
        except zlib.error as error:
            raise Problem(400, "broken_gzip", f"the body is not valid gzip: {error}") from None

    def finish(self) -> bytes:
        if not self._gzip.eof:
            raise Problem(400, "broken_gzip", "the gzip body ends before its end")
        return super().finish()


def _too_large(bytes_max: int) -> Problem:
    return Problem(
        413, "body_too_large", f"the body has more than {bytes_max} bytes; send smaller batches"
    )
