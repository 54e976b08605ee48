"""PostgreSQL's statements, by name."""

from __future__ import annotations

from tallystick.storage.statement_files import read_statements


def statements(topic: str) -> dict[str, str]:
    """Return the statements of ``sql/TOPIC.sql`` by the names of their headings.

    Parameters are ``%s`` or ``%(name)s``, and ``%b`` for arrays, which travel in binary: as text
    they cost several times as much. A percent sign itself is ``%%``.
    """
    return read_statements("postgres", topic)
