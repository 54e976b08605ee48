"""Sends what a spool holds, in a thread of its own, until the server has it."""

from __future__ import annotations

import json
import logging
import random
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from tallystick.client.connection import ServerConnection, ServerRefused, ServerUnreachable
from tallystick.client.moments import elapsed
from tallystick.client.spool import append_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallystick.client.spool import Segment, Spool

BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
"""One request: large enough that requests cost little, small enough that a retry does."""

LINGER_SECONDS = 0.5
"""How long events gather before they are sent and forced to the disk, where they come singly."""

RETRY_SECONDS_BASE = 0.5
RETRY_SECONDS_MAX = 30.0
ORPHAN_SCAN_SECONDS = 5.0
STOP_SECONDS = 1.0
"""How long a request that was broken off may take to notice."""

REJECTED_FILE = "rejected.jsonl"
"""Events that the server refused, with its reasons: a line each, in the spool."""

_COUNTED = ("accepted", "duplicates", "rejected", "requests", "failed_requests")
_DOUBLINGS_MAX = 16

_log = logging.getLogger("tallystick.client")


class Sender:
    """Sends this process's segments in order, and those that other processes left behind.

    An event is sent again until the server has answered for it: its id makes that harmless.
    """

    def __init__(self, connection: ServerConnection, spool: Spool) -> None:
        self._connection = connection
        self._spool = spool
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._last_error: str | None = None
        self._scan_at = elapsed()
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._send_until_stopped, name="tallystick-client", daemon=True
        )
        self._thread.start()

    def counts(self) -> tuple[dict[str, int], str | None]:
        """Return what became of what was sent, and the last error; the caller holds the lock."""
        return dict(self._counts), self._last_error

    def settle(self, timeout: float | None) -> bool:
        """Send what was appended until now; tell whether the server had it all in time."""
        give_up_at = None if timeout is None else elapsed() + timeout
        with self._spool.settled:
            target = self._spool.appended_bytes
            self._hurry.set()
            while self._spool.settled_bytes < target:
                rest = None if give_up_at is None else give_up_at - elapsed()
                if self._stopping.is_set() or (rest is not None and rest <= 0):
                    return False
                self._spool.settled.wait(rest)
        return True

    def stop(self) -> None:
        """Stop sending, at once: what was not sent is left to whoever finds it.

        A thread that hangs, looking up a name perhaps, is left to itself: it lets go when it can.
        """
        self._stopping.set()
        with self._spool.settled:
            self._spool.settled.notify_all()
        self._hurry.set()
        self._connection.abort()
        self._thread.join(STOP_SECONDS)

    def _send_until_stopped(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._sync()
            try:
                pause = 0.0 if self._send_own() else LINGER_SECONDS
                if pause and elapsed() >= self._scan_at:
                    self._send_orphans()
                    self._scan_at = elapsed() + ORPHAN_SCAN_SECONDS
                failures = 0
            except Exception as error:  # whatever it is, the events are on disk and must go on
                pause = self._pause_after(error, failures)
                failures = min(failures + 1, _DOUBLINGS_MAX)
            self._rest(pause)
        self._spool.release()
        self._connection.close()

    def _rest(self, seconds: float) -> None:
        """Wait, or until somebody is in a hurry; what is recorded meanwhile goes to the disk."""
        rested_at = elapsed() + seconds
        while (rest := rested_at - elapsed()) > 0:
            if self._hurry.wait(min(rest, LINGER_SECONDS)):
                self._hurry.clear()
                return
            self._sync()

    def _sync(self) -> None:
        try:
            self._spool.sync()
        except OSError as error:  # sending goes on: what the server has need not be on the disk
            self._note("the spool cannot be forced to the disk: %s", error)

    def _send_own(self) -> bool:
        """Send one batch of this process's events; tell whether more wait to be sent at once."""
        segment = self._spool.next_segment()
        if segment is None:
            return False
        before = segment.sent
        if self._send_batch(segment):
            self._spool.settle(segment.sent - before)
        else:
            self._spool.drop(segment)
        return True

    def _send_orphans(self) -> None:
        with closing(self._spool.orphans()) as orphans:
            for segment in orphans:
                try:
                    while not self._stopping.is_set() and self._send_batch(segment):
                        pass
                except (ServerUnreachable, ServerRefused):
                    raise
                except OSError as error:  # of this file: the others may be well
                    self._note("what another process left cannot be sent: %s", error)

    def _send_batch(self, segment: Segment) -> bool:
        """Send the next events of a segment; tell whether there were any."""
        lines, offset = segment.waiting(BATCH_EVENTS_MAX, BATCH_BYTES_MAX)
        if not lines:
            return False
        events = [line for line in lines if _is_event(line)]
        accepted, duplicates, rejected = self._post(events) if events else (0, 0, [])
        rejected += [
            _rejection("unreadable", "the line was damaged on the disk", line)
            for line in lines
            if not _is_event(line)
        ]
        if rejected:
            self._keep(rejected)
        segment.mark_sent(offset)
        with self._spool.lock:
            self._counts["accepted"] += accepted
            self._counts["duplicates"] += duplicates
            self._counts["rejected"] += len(rejected)
            self._counts["requests"] += bool(events)
        return True

    def _post(self, events: list[bytes]) -> tuple[int, int, list[Mapping[str, object]]]:
        answer = self._connection.post_events(events)
        rejected = [
            _rejection(result.get("code"), result.get("detail"), line)
            for line, result in zip(events, answer.results, strict=True)
            if result["status"] in ("invalid", "conflict")
        ]
        return answer.accepted, answer.duplicates, rejected

    def _keep(self, rejected: list[Mapping[str, object]]) -> None:
        """Keep events that the server refused for good, so that nothing vanishes in silence.

        A disk too full for that must not hold up the sending that makes room: they go to the log.
        """
        path = self._spool.folder / REJECTED_FILE
        lines = [json.dumps(each) + "\n" for each in rejected]
        try:
            append_whole(path, "".join(lines).encode())
        except OSError as error:
            for line in lines:
                _log.error("refused for good, and not kept (%s): %s", error, line.strip())
            return
        first = rejected[0]
        _log.error(
            "%d events were refused for good and are kept in %s; the first: %s %s",
            len(rejected),
            path,
            first["code"],
            first["detail"],
        )

    def _pause_after(self, error: Exception, failures: int) -> float:
        """Return how long to wait after so many failures: longer each time, and never in step."""
        if not self._stopping.is_set():
            self._note("sending failed, and will be tried again: %s", error)
        with self._spool.lock:
            self._counts["requests"] += 1
            self._counts["failed_requests"] += 1
        longest = min(RETRY_SECONDS_BASE * 2**failures, RETRY_SECONDS_MAX)
        asked = error.retry_after_seconds if isinstance(error, ServerUnreachable) else 0
        return min(asked, RETRY_SECONDS_MAX) + random.uniform(0, longest)  # noqa: S311 - spreads retries, guards nothing

    def _note(self, what: str, error: Exception) -> None:
        _log.warning(what, error)
        with self._spool.lock:
            self._last_error = str(error) or type(error).__name__


def _is_event(line: bytes) -> bool:
    """Tell whether a line can be what `record` wrote: a machine's crash may leave anything."""
    return line[:1] == b"{" and line[-1:] == b"}" and line.isascii() and b"\r" not in line


def _rejection(code: object, detail: object, line: bytes) -> Mapping[str, object]:
    return {"code": code, "detail": detail, "event": line.decode("utf-8", "replace")}
