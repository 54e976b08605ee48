"""HTTP to a Tallystick server, with nothing but the standard library."""

from __future__ import annotations

import gzip
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60

_GZIP_LEVEL = 1  # the log or network is the limit, not the ratio


class ServerUnreachable(ConnectionError):
    """The server could not be reached, or said that it cannot take anything now."""


class ServerRefused(ValueError):
    """The server refused a request as a whole; the message is its own."""


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What the server said of a batch of events: counts, and a result for each, in order."""

    accepted: int
    duplicates: int
    results: list[dict[str, Any]]


class ServerConnection:
    """One connection that is kept open between requests. Not thread-safe."""

    def __init__(self, url: str, api_key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server, like http://127.0.0.1:8787")
        self.url = url
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

    def post_events(self, events: list[bytes]) -> EventAnswer:
        """Send events, each as one line of JSON, in one request; return what became of each.

        Raises:
            ServerUnreachable: no answer, 429 or 503. Nothing is known of the batch; sending it
            again
                is safe.
            ServerRefused: any other error answer.
        """
        body = gzip.compress(b"\n".join(events), _GZIP_LEVEL)
        status, answer = self._request("POST", "/v1/events", body)
        if status in (429, 503):
            raise ServerUnreachable(f"{self.url}: {_detail(answer)}")
        if status != 200:
            raise ServerRefused(f"{self.url}: {_detail(answer)}")
        return EventAnswer(answer["accepted"], answer["duplicates"], answer["results"])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            self._http.request(method, self._path + path, body, self._headers)
            response = self._http.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise ServerUnreachable(f"{self.url} cannot be reached: {error}") from error
        try:
            return response.status, json.loads(text)
        except ValueError:
            raise ServerRefused(
                f"{self.url} answered {response.status} with something that is not Tallystick's"
            ) from None


def _detail(answer: dict[str, Any]) -> str:
    return f"{answer.get('status')} {answer.get('code')}: {answer.get('detail')}"
