"""The advisory locks of this database, in one place so that no two mean the same number.

They live and die with a transaction. The high bytes tell ours from those of others who share the
database.
"""

from __future__ import annotations

_OURS = 0x7A11_0000_0000_0000

MIGRATING = _OURS | 1
"""Held by whoever changes the schema."""

SELECTIONS = _OURS | 2
"""Shared by who counts events; held alone by who opens selections of new meters, or writes down
that events are in the archive or are not any more, or that days are rolled up from now on.
"""

PARTITIONS = _OURS | 3
"""Held by whoever makes partitions of the event log."""

APPENDING = 0x7A12_0000_0000_0000
"""With a place in the event log added: shared by an append whose events are all at or beyond that
place, and not committed yet.
"""

METER_ERRORS = _OURS | 4
"""Held by whoever keeps a meter error, so that their numbers are committed in order."""

LATENESS = _OURS | 5
"""Held by whoever adds delays that it counted."""

ROLLING = _OURS | 6
"""Held by whoever takes a step of rolling days up."""

MIRROR_OBJECTS = 0x7A11_0001
"""Held, with a part of the object's id as second key, by whoever keeps a reading of an object."""

LANES = 0x7A11_0002
"""Held, with a part of the lane as second key, by whoever adds to a lane or ends its head."""

TURNS = 0x7A11_0003
"""Held, with a turn's name as second key, by the session of whoever has the turn."""
