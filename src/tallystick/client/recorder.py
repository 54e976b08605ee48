"""The client: `record` returns at once, and what it took reaches the server exactly once."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import tempfile
import weakref
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tallystick.client.connection import ServerConnection
from tallystick.client.moments import Moments
from tallystick.client.sender import Sender
from tallystick.client.spool import Spool
from tallystick.domain.quantity import DIGITS_MAX, QuantityError, parse_quantity, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EXIT_SECONDS = 5.0

NAME_CHARS_MAX = 255
PROPERTIES_BYTES_MAX = 16_384
"""What the server takes: what it would refuse for good is refused where it is recorded."""


_WHOLE_LIMIT = 10**DIGITS_MAX
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # control and half characters


@dataclass(frozen=True, slots=True)
class ClientMetrics:
    """What became of events since this process made the client.

    ``recorded``, ``refused`` (no room) and ``waiting_bytes`` (on disk, not sent yet) tell of this
    process's own events; the others of all that it sent, what other processes left behind included.
    """

    recorded: int = 0
    refused: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    requests: int = 0
    failed_requests: int = 0
    waiting_bytes: int = 0
    last_error: str | None = None


class Client:
    """Records usage for a Tallystick server. Thread-safe, and safe to use after a fork.

    Events go to a spool on disk first, and from there to the server in the background: they outlive
    the process and an outage of the server. Several processes may share one spool folder.
    """

    def __init__(
        self, url: str, api_key: str, *, spool: str | Path | None = None, source: str = "default"
    ) -> None:
        """Begin to record; ``spool`` is a folder, else one for this server in the temporary folder.

        Raises:
            ValueError: the address, the key or the source cannot be.
            OSError: the spool's folder cannot be made, or is not this user's.
        """
        self._url = url
        self._api_key = api_key
        self._source = encode_basestring_ascii(_name("source", source))
        self._closed = False
        self._start(ServerConnection(url, api_key), _made_folder(spool, url))
        this = weakref.ref(self)  # what is registered for forks is never let go
        os.register_at_fork(after_in_child=lambda: _start_in_child(this()))
        atexit.register(self.close, EXIT_SECONDS)

    def record(
        self,
        event_type: str,
        *,
        customer: str,
        value: int | Decimal | str = 1,
        properties: Mapping[str, object] | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in an event
        time: datetime | None = None,
    ) -> str:
        """Record that a customer used something; return the event's id, after it is on disk.

        ``value`` is exact: a float is refused. ``time`` is now where it is left out.

        Raises:
            ValueError, TypeError: the event cannot be; nothing was recorded.
            SpoolFull: there is no room for it; nothing was recorded.
        """
        if time is not None and time.utcoffset() is None:
            raise ValueError(f"time is {time!r}, which has no offset")
        fields = (
            f',"type":{encode_basestring_ascii(_name("event type", event_type))}'
            f',"customer":{encode_basestring_ascii(_name("customer", customer))}'
            f',"source":{self._source},"value":"{_decimal(value)}"'
        )
        if properties:
            fields += f',"properties":{_object(properties)}'
        with self._spool.lock:
            if self._closed:
                raise ValueError("the client was closed")
            made_id, now = self._moments.next()
            event_id = made_id if id is None else _name("id", id)
            at = now if time is None else time.isoformat()
            line = f'{{"id":{encode_basestring_ascii(event_id)},"time":"{at}"{fields}}}\n'
            self._spool.append(line.encode())
        return event_id

    @property
    def metrics(self) -> ClientMetrics:
        """What became of events until now."""
        spool = self._spool
        with spool.lock:
            counts, last_error = self._sender.counts()
            return ClientMetrics(
                **counts,
                recorded=spool.recorded,
                refused=spool.refused,
                waiting_bytes=spool.waiting_bytes,
                last_error=last_error,
            )

    def flush(self, timeout: float | None = None) -> bool:
        """Send what this process recorded until now; tell whether the server had it in time.

        ``timeout`` is in seconds; without one this waits for as long as it takes.
        """
        return self._sender.settle(timeout)

    async def flush_async(self, timeout: float | None = None) -> bool:
        """Do what ``flush`` does without holding up the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = EXIT_SECONDS) -> bool:
        """Flush for so many seconds and stop; what is left is sent by the next process.

        Returns whether everything reached the server. `record` raises from then on.
        """
        with self._spool.lock:
            if self._closed:
                return not self._spool.waiting_bytes
            self._closed = True
        sent = self._sender.settle(timeout)
        self._sender.stop()
        atexit.unregister(self.close)
        return sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def start_in_child(self) -> None:
        """Begin anew in a forked child: segments, sender and socket are its parent's."""
        self._spool.forget()
        if not self._closed:
            self._start(ServerConnection(self._url, self._api_key), self._spool.folder)

    def _start(self, connection: ServerConnection, folder: Path) -> None:
        self._moments = Moments()
        self._spool = Spool(folder)
        self._sender = Sender(connection, self._spool)


def _start_in_child(client: Client | None) -> None:
    if client is not None:
        client.start_in_child()


def _name(what: str, text: str) -> str:
    if not text:
        raise ValueError(f"{what} is {text!r}; a text that is not empty is needed")
    if len(text) > NAME_CHARS_MAX:
        raise ValueError(f"{what} has {len(text)} characters; {NAME_CHARS_MAX} are the most")
    if not text.isprintable() and _NO_NAME.search(text):
        raise ValueError(f"{what} is {text!r}, which has a control character in it")
    return text


def _object(properties: Mapping[str, object]) -> str:
    text = json.dumps(properties, allow_nan=False, separators=(",", ":"))
    if len(text) > PROPERTIES_BYTES_MAX:
        raise ValueError(
            f"the properties have {len(text)} bytes; {PROPERTIES_BYTES_MAX} are the most"
        )
    return text


def _decimal(value: int | Decimal | str) -> str:
    """Return the value's plain spelling.

    Raises:
        TypeError: it is not of an exact type.
        ValueError: it is not a quantity that the server takes.
    """
    if type(value) is int and -_WHOLE_LIMIT < value < _WHOLE_LIMIT:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise TypeError(f"value is {value!r}; an int, a Decimal or a decimal string is exact")
    try:
        return plain(parse_quantity(value))
    except QuantityError as error:
        raise ValueError(f"value is {str(value)[:40]!r}: {error}") from None


def _made_folder(spool: str | Path | None, url: str) -> Path:
    """Return the spool's folder, made for this user alone where it was not there.

    The temporary folder is everybody's: what another user put there is not written into.
    """
    folder = Path(spool) if spool else _default_spool(url)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not spool and (folder.is_symlink() or folder.stat().st_uid != os.getuid()):
        raise PermissionError(f"{folder} is not this user's; name another folder with spool=")
    return folder


def _default_spool(url: str) -> Path:
    name = "".join(char if char.isalnum() else "-" for char in url)
    return Path(tempfile.gettempdir()) / f"tallystick-spool-{os.getuid()}-{name}"
