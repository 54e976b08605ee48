"""Writes that go to another process over a socket: what it says, and what happens without it."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tallystick.domain.corrections import Correction, CorrectionStatus
from tallystick.domain.events import EventStatus, UsageEvent
from tallystick.ports.errors import PortError, StoreBusy, StoreOutcomeUnknown, StoreUnavailable
from tallystick.storage.sqlite import frames, sent_writes
from tallystick.storage.sqlite.frames import Channel, frame
from tallystick.storage.sqlite.sent_writes import WriteClient
from tallystick.wiring import Tallystick
from tests.contract.test_sqlite_trouble import NOW, some_events
from tests.fixtures.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tallystick.config import Settings


class Ends:
    """Both ends of a connection: a client, and the socket of whoever would write for it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.lost = threading.Event()
        self.client = WriteClient(ours, self.lost.set)


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A connection at whose other end nobody is yet."""
    made = Ends()
    yield made
    made.theirs.close()
    assert made.lost.wait(PATIENCE_SECONDS)


@pytest.fixture
def beside(product: Tallystick, ends: Ends, settings: Settings) -> Iterator[Tallystick]:
    """The product on the same file, which leaves writing to the first one."""
    service = product.write_service()
    service.serve(ends.theirs.dup())
    ends.theirs.close()
    with Tallystick(settings, product.clock, writer=ends.client) as made:
        yield made
    service.stop()


def test_what_is_sent_is_stored_once_and_found_by_both(
    product: Tallystick, beside: Tallystick
) -> None:
    beside.events.warm_up()
    events = some_events(0, 5)
    assert beside.events.append(events, NOW).result() == [EventStatus.ACCEPTED] * 5
    assert product.events.append(events, NOW).result() == [EventStatus.DUPLICATE] * 5
    assert beside.events.append(events, NOW).result() == [EventStatus.DUPLICATE] * 5
    changed = [UsageEvent("s", "0", "http_request", "other", NOW, events[0].value)]
    assert beside.events.append(changed, NOW).result() == [EventStatus.CONFLICT]
    assert beside.events.find("s", "4") == product.events.find("s", "4")
    assert beside.events.find("s", "5") is None
    assert [each.event for each in beside.events.scan(0, 10)] == events
    void = [Correction("s", "0", None, "me", "a test"), Correction("s", "9", None, "me", "why")]
    assert beside.events.correct(void, NOW).result() == [
        CorrectionStatus.CORRECTED,
        CorrectionStatus.NOT_FOUND,
    ]
    found = product.events.find("s", "0")
    assert found is not None
    assert found.counts_for is None


def test_an_error_of_the_other_process_is_the_callers(beside: Tallystick) -> None:
    unknown = [UsageEvent("s", "0", "no_such_type", "acme", NOW, some_events(0, 1)[0].value)]
    with pytest.raises(KeyError, match="no_such_type"):
        beside.events.append(unknown, NOW).result()
    assert beside.events.append(some_events(0, 1), NOW).result() == [EventStatus.ACCEPTED]


def test_a_store_that_is_closed_refuses_what_is_sent(
    product: Tallystick, beside: Tallystick
) -> None:
    product.close()
    with pytest.raises(StoreBusy, match="being closed"):
        beside.events.append(some_events(0, 1), NOW).result()


def test_without_the_other_process_the_outcome_is_unknown(ends: Ends) -> None:
    waiting = ends.client.call("append")
    assert not waiting.done()
    ends.theirs.close()
    with pytest.raises(StoreOutcomeUnknown, match="repeat the same"):
        waiting.result(PATIENCE_SECONDS)
    assert ends.lost.wait(PATIENCE_SECONDS)
    with pytest.raises(StoreUnavailable):
        ends.client.call("append").result(PATIENCE_SECONDS)


def test_more_than_fits_is_refused_until_something_is_answered(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_writes, "UNANSWERED_BYTES_MAX", 3_000)
    waiting = ends.client.call("append", bytes(2_000))
    with pytest.raises(StoreBusy, match="1 writes are waiting"):
        ends.client.call("append", bytes(2_000))
    channel = Channel(ends.theirs.dup(), "test")
    number, name, arguments = channel.receive()
    assert (name, arguments) == ("append", (bytes(2_000),))
    channel.send(frame((number, "done")))
    assert waiting.result(PATIENCE_SECONDS) == "done"
    assert not ends.client.call("append", bytes(2_000)).done()
    channel.close()


def test_a_message_that_is_too_long_or_cut_off_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    framed = frame("x" * 1_000)
    for sent, is_read in ((framed, True), (framed[:-1], False), (framed[:5], False)):
        ours, theirs = socket.socketpair()
        channel = Channel(ours, "test")
        theirs.sendall(sent)
        theirs.close()
        assert channel.receive() == ("x" * 1_000 if is_read else None)
        channel.close()
    monkeypatch.setattr(frames, "FRAME_BYTES_MAX", 900)
    ours, theirs = socket.socketpair()
    channel = Channel(ours, "test")
    theirs.sendall(framed)
    assert channel.receive() is None
    channel.close()
    theirs.close()


def test_every_error_of_a_port_arrives_as_it_was() -> None:
    kinds = [PortError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        ours, theirs = socket.socketpair()
        one, other = Channel(ours, "test"), Channel(theirs, "test")
        one.send(frame(kind("what happened")))
        arrived = other.receive()
        assert (type(arrived), str(arrived)) == (kind, "what happened")
        one.close()
        other.close()
