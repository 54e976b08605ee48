"""Object ids in Stripe's form, chosen by the seed and nothing else."""

from __future__ import annotations

from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_LENGTHS = {"cus": 14, "prod": 14, "si": 14, "req": 14, "acct": 16, "whsec": 32}
_LENGTH = 24


def token(material: str, length: int) -> str:
    """Return ``length`` letters and digits that depend on ``material`` alone."""
    number = int.from_bytes(blake2b(material.encode(), digest_size=32).digest(), "big")
    letters = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        letters.append(_ALPHABET[rest])
    return "".join(letters)


class IdSource:
    """Makes the ids of one account, in order; ``made`` is all that has to be kept."""

    def __init__(self, origin: str, made: int = 0) -> None:
        self._origin = origin
        self.made = made

    def make(self, prefix: str) -> str:
        """Return a new id such as ``cus_Ab12...``."""
        self.made += 1
        length = _LENGTHS.get(prefix, _LENGTH)
        return f"{prefix}_{token(f'{self._origin}/{prefix}/{self.made}', length)}"
