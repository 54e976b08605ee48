"""HTTP to a Tallystick server, with nothing but the standard library."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60

EVENTS_PATH = "/v1/events"

HISTORY_PATH = "/v1/events/history"
"""Where events go of which Stripe is never told."""

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of an answer that are read: far more than a result for each of the most events."""

_GZIP_LEVEL = 1  # the log or network is the limit, not the ratio


class ServerUnreachable(ConnectionError):
    """The server could not be reached, or said that it cannot take anything now.

    ``retry_after_seconds`` is how long it asked to be left alone, 0 where it did not say.
    """

    def __init__(self, message: str, retry_after_seconds: int = 0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ServerRefused(ValueError):
    """The server refused a request as a whole; the message is its own."""


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What the server said of a batch of events: counts, and a result for each, in order."""

    accepted: int
    duplicates: int
    results: list[dict[str, Any]]


class ServerConnection:
    """One connection that is kept open between requests. Not thread-safe, but for ``abort``."""

    def __init__(self, url: str, api_key: str) -> None:
        """Check the address and the key; nothing is sent yet.

        Raises:
            ValueError: one of them cannot be. The message repeats no key and no password.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("the server's address has a user name in it; the API key is enough")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server, like http://127.0.0.1:8787")
        if not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("the API key is empty or has characters that no key has")
        self.url = url
        self._is_aborted = False
        self._path = parts.path.rstrip("/")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._http = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
        }

    def post_events(self, events: list[bytes], path: str = EVENTS_PATH) -> EventAnswer:
        """Send events, each as one line of JSON, in one request; return what became of each.

        Raises:
            ServerUnreachable: no answer, 429 or 503. Nothing is known of the batch; sending it
                again is safe.
            ServerRefused: any other error answer, or one that is not Tallystick's.
        """
        body = gzip.compress(b"\n".join(events), _GZIP_LEVEL)
        status, answer = self._request("POST", path, body)
        if status != 200:
            raise ServerRefused(f"{self.url}: {_detail(answer)}")
        counts = [answer.get("accepted"), answer.get("duplicates")]
        results = answer.get("results")
        if (
            not all(isinstance(count, int) for count in counts)
            or not isinstance(results, list)
            or len(results) != len(events)
            or not all(isinstance(result, dict) and "status" in result for result in results)
        ):
            raise ServerRefused(f"{self.url} did not answer with a result for each event")
        return EventAnswer(answer["accepted"], answer["duplicates"], results)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def abort(self) -> None:
        """Break off a request that another thread is waiting for, which fails then, for good."""
        self._is_aborted = True
        open_socket = self._http.sock
        if open_socket is not None:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        is_used = self._http.sock is not None
        try:
            response, text = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            if not is_used or self._is_aborted or isinstance(error, TimeoutError):
                raise ServerUnreachable(f"{self.url} cannot be reached: {error}") from error
            # the server may have closed a connection that was idle: that is no failure yet
            return self._request(method, path, body)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if response.status in (429, 503):
            asked = response.headers.get("Retry-After", "")
            raise ServerUnreachable(
                f"{self.url}: {response.status} {_detail(answer)}",
                int(asked) if asked.isascii() and asked.isdigit() else 0,
            )
        if not isinstance(answer, dict):
            raise ServerRefused(
                f"{self.url} answered {response.status} with something that is not Tallystick's"
            )
        return response.status, answer

    def _exchange(
        self, method: str, path: str, body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._http.request(method, self._path + path, body, self._headers)
        response = self._http.getresponse()
        text = response.read(ANSWER_BYTES_MAX)
        if response.length:
            raise http.client.IncompleteRead(text, response.length)
        return response, text


def _detail(answer: object) -> str:
    if not isinstance(answer, dict):
        return "no reason was given"
    return f"{answer.get('status')} {answer.get('code')}: {answer.get('detail')}"
