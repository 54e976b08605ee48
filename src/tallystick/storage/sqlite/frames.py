"""Messages between the processes of one server, over a stream socket that only they have."""

from __future__ import annotations

import pickle
import queue
import socket
import struct
import threading
from typing import Any

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one message: several times what the largest request becomes. A longer one is no message
of ours, and is not read."""

_LENGTH = struct.Struct("<Q")


def frame(message: object) -> bytes:
    """Return a message as it is sent."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Channel:
    """One end of a connection. What is sent is written by a thread of its own: whoever sends never
    waits for the other end, and bounds what is under way.
    """

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_frames, name=name, daemon=True)
        self._thread.start()

    def send(self, framed: bytes) -> None:
        """Have a message written; if the other end is gone, it is dropped."""
        self._frames.put(framed)

    def receive(self) -> Any:
        """Wait for the next message; None at the end, also where that is amid a message.

        Reading one can run whatever its sender wants: the sender is this program.
        """
        head = self._read(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        content = self._read(length) if length <= FRAME_BYTES_MAX else None
        return None if content is None else pickle.loads(content)  # noqa: S301 - see above

    def close(self) -> None:
        """Write what was sent, and end the connection for both."""
        self._frames.put(None)
        self._thread.join()
        self._connection.close()

    def _read(self, length: int) -> bytearray | None:
        """Read so many bytes; the interpreter's lock is given away and won back once for all."""
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            try:
                count = self._connection.recv_into(rest, 0, socket.MSG_WAITALL)
            except OSError:  # the other end was killed
                return None
            if not count:
                return None
            rest = rest[count:]
        return content

    def _write_frames(self) -> None:
        try:
            while (framed := self._frames.get()) is not None:
                self._connection.sendall(framed)
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other end is gone, which reading tells too
            return
