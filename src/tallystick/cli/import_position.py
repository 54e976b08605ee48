"""Where an import stands, kept beside its file, and the rows that it refused."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tallystick.cli.session import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Position:
    """How far an import has come: every row up to ``row`` is durable with the server, or refused.

    ``digest`` is that of the file's content, ``job`` what else must be the same for going on, and
    ``refused_bytes`` how long the file of refused rows is.
    """

    digest: str
    job: dict[str, Any]
    row: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    refused_bytes: int = 0


class PositionFile:
    """A position that outlives the process; there is none before an import and after its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Position | None:
        """Return the position of an import that did not come to its end.

        Raises:
            InputError: the file holds none.
        """
        try:
            return Position(**json.loads(self.path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise InputError(
                "position_unreadable",
                f"{self.path} is no position of an import; --restart begins anew",
            ) from None

    def save(self, position: Position) -> None:
        """Replace what is kept; durable when it returns, and whole whatever happens meanwhile."""
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(position), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)
        _sync_folder(self.path)

    def remove(self) -> None:
        """End it: what is imported next is imported from the beginning."""
        self.path.unlink(missing_ok=True)
        _sync_folder(self.path)


@dataclass
class RefusedRows:
    """The file of refused rows, one JSON object a line; made with the first of them."""

    path: Path
    size: int = 0
    _waiting: list[bytes] = field(default_factory=list)

    def begin(self, size: int) -> None:
        """Go on behind so many bytes; what was written beyond them is written anew."""
        self.size = size
        if not size:
            self.path.unlink(missing_ok=True)
            return
        with self.path.open("ab") as file:
            file.truncate(size)

    def add(self, refused: dict[str, Any]) -> None:
        """Add a row; it is written with the next ``save``."""
        self._waiting.append(json.dumps(refused).encode() + b"\n")

    def save(self) -> None:
        """Write what was added; durable when it returns."""
        if not self._waiting:
            return
        with self.path.open("ab") as file:
            file.writelines(self._waiting)
            file.flush()
            os.fsync(file.fileno())
            self.size = file.tell()
        self._waiting.clear()


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
