"""Types that JSON is read into are prepared where they are declared, not at their first use.

msgspec works out how to read a type when it first reads one, and Python runs meanwhile: a second
thread that reads the same type at that moment finds it half done, and the process dies by SIGSEGV.
"""

from __future__ import annotations

import msgspec


def prepare(*kinds: type[msgspec.Struct]) -> None:
    """Let types, and those of their fields, be read by any number of threads from now on."""
    for kind in kinds:
        msgspec.json.Decoder(kind)
