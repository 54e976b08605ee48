"""Segments on disk: locks, torn lines, marks that cannot be, files that vanish in between."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

import tallystick
from tallystick.client import recorder, spool
from tallystick.client.spool import Segment, Spool, SpoolFull, append_whole
from tallystick.domain import events
from tests.client.test_recorder import NOWHERE

if TYPE_CHECKING:
    from pathlib import Path

LINES = [b'{"id":"%d"}\n' % number for number in range(5)]


def segment_with_lines(folder: Path) -> Segment:
    segment = Segment.create(folder)
    for line in LINES:
        segment.append(line)
    return segment


def reopened(segment: Segment) -> Segment:
    segment.forget()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    return adopted


def test_a_segment_is_adopted_only_when_its_process_has_gone(tmp_path: Path) -> None:
    segment = segment_with_lines(tmp_path)
    assert Segment.adopt(segment.path) is None
    adopted = reopened(segment)
    assert [line + b"\n" for line in adopted.waiting(10, 1_000)[0]] == LINES
    adopted.delete()
    assert list(tmp_path.iterdir()) == []


def test_a_new_segment_that_was_removed_before_it_was_locked_is_made_again(tmp_path: Path) -> None:
    """Another process may find it in between, see that it is empty and that nobody holds it."""
    locks = fcntl.flock
    removed: list[str] = []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            (path,) = tmp_path.iterdir()
            removed.append(path.name)
            path.unlink()
        locks(descriptor, operation)

    with mock.patch.object(fcntl, "flock", remove_first):
        segment = Segment.create(tmp_path)
    assert segment.path.exists()
    assert segment.path.name not in removed
    segment.delete()


def test_what_a_full_disk_cut_off_is_cut_back_before_the_next_line(tmp_path: Path) -> None:
    """Even where the disk is so full that a file cannot be made shorter at once."""
    segment = segment_with_lines(tmp_path)
    writes = os.write
    no_room = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        mock.patch.object(os, "write", lambda descriptor, text: writes(descriptor, text[:5])),
        mock.patch.object(os, "ftruncate", side_effect=no_room),
        pytest.raises(SpoolFull, match="No space left on device"),
    ):
        segment.append(b'{"id":"lost"}\n')
    assert segment.path.read_bytes() == b"".join(LINES) + b'{"id"'
    segment.append(b'{"id":"next"}\n')
    assert segment.path.read_bytes() == b"".join(LINES) + b'{"id":"next"}\n'
    segment.delete()


@pytest.mark.parametrize(
    "mark",
    [b"", b"\0\0\0", b"\0" * 8, (7).to_bytes(8), (10_000).to_bytes(8), b"\xff" * 8, b"\0" * 9],
    ids=["empty", "torn", "zeros", "in a line", "behind the end", "far behind it", "too long"],
)
def test_a_mark_that_cannot_be_leaves_everything_to_be_sent_again(
    tmp_path: Path, mark: bytes
) -> None:
    segment = segment_with_lines(tmp_path)
    segment.path.with_suffix(".sent").write_bytes(mark)
    adopted = reopened(segment)
    assert adopted.sent == 0
    adopted.delete()


def test_what_was_marked_as_sent_is_not_sent_again(tmp_path: Path) -> None:
    segment = segment_with_lines(tmp_path)
    _, offset = segment.waiting(3, 1_000)
    segment.mark_sent(offset)
    adopted = reopened(segment)
    assert adopted.sent == offset
    assert [line + b"\n" for line in adopted.waiting(10, 1_000)[0]] == LINES[3:]
    adopted.delete()


def test_a_mark_that_finds_no_room_does_not_hold_up_the_sending(tmp_path: Path) -> None:
    segment = segment_with_lines(tmp_path)
    segment.path.with_suffix(".sent").mkdir()  # cannot be written, whoever the user is
    _, offset = segment.waiting(3, 1_000)
    segment.mark_sent(offset)
    assert segment.sent == offset
    segment.path.with_suffix(".sent").rmdir()
    segment.delete()


def test_a_mark_without_its_segment_is_removed(tmp_path: Path) -> None:
    """Its process was killed between the two removals."""
    (tmp_path / "1-a.sent").write_bytes(bytes(8))
    assert list(Spool(tmp_path).orphans()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_segment_of_another_user_is_left_to_that_user(tmp_path: Path) -> None:
    segment = segment_with_lines(tmp_path)
    segment.forget()
    with mock.patch.object(os, "open", side_effect=PermissionError(errno.EACCES, "denied")):
        assert list(Spool(tmp_path).orphans()) == []
    assert segment.path.exists()


def test_a_shared_file_takes_all_of_a_text_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    append_whole(path, b"first\n")
    writes = os.write
    with (
        mock.patch.object(os, "write", lambda descriptor, text: writes(descriptor, text[:3])),
        pytest.raises(SpoolFull, match="full"),
    ):
        append_whole(path, b"second\n")
    append_whole(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_a_spool_that_reached_its_limit_refuses_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SPOOL_BYTES_MAX", 1_000)
    client = tallystick.Client(NOWHERE, "key", spool=tmp_path)
    for _ in range(5):
        client.record("http_request", customer="acme")
    with pytest.raises(SpoolFull, match="1000 bytes wait to be sent"):
        client.record("http_request", customer="acme", properties={"text": "x" * 1_000})
    metrics = client.metrics
    assert (metrics.recorded, metrics.refused) == (5, 1)
    assert 0 < metrics.waiting_bytes <= 1_000
    client.close(0)


def test_a_client_that_records_nothing_leaves_nothing(tmp_path: Path) -> None:
    with tallystick.Client(NOWHERE, "key", spool=tmp_path / "a" / "b"):
        assert list((tmp_path / "a" / "b").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_events_can_be_read_by_their_user_alone(tmp_path: Path) -> None:
    client = tallystick.Client(NOWHERE, "key", spool=tmp_path)
    client.record("http_request", customer="acme")
    client.close(0)
    append_whole(tmp_path / "rejected.jsonl", b"{}\n")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_default_spool_that_is_another_users_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tallystick.Client(NOWHERE, "key").close(0)
    (folder,) = tmp_path.iterdir()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="name another folder"):
        tallystick.Client(NOWHERE, "key")


def test_the_limits_are_the_servers() -> None:
    assert recorder.NAME_CHARS_MAX == events.NAME_CHARS_MAX
    assert recorder.PROPERTIES_BYTES_MAX == events.PROPERTIES_BYTES_MAX


def test_the_longest_event_fits_a_line(tmp_path: Path) -> None:
    client = tallystick.Client(NOWHERE, "key", spool=tmp_path, source="\U0001f600" * 255)
    name = "\U0001f600" * 255  # four bytes each, twelve when escaped
    properties: dict[str, Any] = {"x": "y" * (recorder.PROPERTIES_BYTES_MAX - 8)}
    client.record(name, customer=name, id=name, value="-0." + "1" * 12, properties=properties)
    client.close(0)
    (path,) = tmp_path.iterdir()
    (line,) = path.read_bytes().splitlines(keepends=True)
    assert json.loads(line)["properties"] == properties
    assert len(line) <= spool.LINE_BYTES_MAX
