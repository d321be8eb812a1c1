"""Lengths of time, as people write and read them."""

import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,12})([smhd])")


def parsed(text: str) -> int:
    """Seconds of a text like ``90``, ``10m``, ``2h`` or ``1d 12h``.

    :raises ValueError: it is no such text
    """
    packed = "".join(text.split())
    if packed.isascii() and packed.isdecimal() and len(packed) <= 12:
        return int(packed)
    if not re.fullmatch(f"({_PART.pattern})+", packed):
        raise ValueError(
            "must be a length of time like 90 (seconds), 10m, 2h or 3d, "
            f"not {text[:100]!r}"
        )
    return sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(packed))


def shown(seconds: int) -> str:
    """The two largest units of a length: ``45s``, ``3m 12s``, ``5d 2h``."""
    left, parts = seconds, []
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        parts.append(f"{number}{unit}")
    while len(parts) > 1 and parts[0].startswith("0"):
        del parts[0]
    return " ".join(p for p in parts[:2] if not p.startswith("0")) or "0s"
