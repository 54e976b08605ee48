"""`make chaos`: a server killed at random, with a Stripe that fails, until its minutes are over.

make chaos MINUTES=30 SEED=7             half an hour; prints what happened
make chaos MINUTES=30 KILLS=99 SEED=7    with so many kills; else ten a minute
make chaos MINUTES=30 DB=postgres        two servers and two workers on one PostgreSQL database

Exits 1 if anything differs at the end. The same seed draws the same kills, faults and events.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import Chaos, Tally

KILLS_PER_MINUTE = 10
WAYS = ("meter_events", "meter_event_stream")


def main() -> None:
    """Run chaos and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1, help="how long")
    parser.add_argument("--kills", type=int, help="how often; else ten a minute")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--postgres", help="an empty database, for servers and workers by twos")
    parser.add_argument("--way", choices=WAYS, default=WAYS[0], help="how usage is reported")
    asked = parser.parse_args()
    kills = int(asked.minutes * KILLS_PER_MINUTE) if asked.kills is None else asked.kills
    with tempfile.TemporaryDirectory() as folder:
        tally = Chaos(Path(folder), asked.seed, asked.postgres).run(
            60 * asked.minutes, kills, asked.way
        )
    print_tally(tally, asked.seed)
    sys.exit(1 if tally.differences else 0)


def print_tally(tally: Tally, seed: int) -> None:
    """Print what happened, one fact a line."""
    lines = [
        f"seed {seed}",
        f"events sent: {tally.sent:,}",
        f"events acknowledged: {tally.acknowledged:,}",
        f"reports: {tally.reported:,}",
        f"faults: {', '.join(f'{number} {kind}' for kind, number in tally.faults.items())}",
        f"restarts: {tally.restarts}",
        f"differences: {len(tally.differences)}",
        *tally.differences,
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
