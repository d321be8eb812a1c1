"""The last hour, minute by minute."""

from collections import deque
from dataclasses import dataclass, replace

#: Minutes that are kept.
KEPT = 60


@dataclass
class Minute:
    """The calls of a minute.

    :ivar number: which; they are counted from an arbitrary one
    :ivar calls: how many there were
    :ivar failed: how many of these had no answer, or one of 500 and above
    :ivar total: the seconds that they took in all
    :ivar longest: the seconds that the longest took
    """

    number: int
    calls: int = 0
    failed: int = 0
    total: float = 0.0
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """Seconds that a call took."""
        return self.total / self.calls if self.calls else 0.0


class Minutes:
    """The minutes of the last hour; not for several threads at once."""

    def __init__(self) -> None:
        self._kept: deque[Minute] = deque(maxlen=KEPT)

    def add(self, now: float, seconds: float, failed: bool) -> None:
        """Count a call.

        :param now: monotonic
        """
        number = int(now // 60)
        if not self._kept or self._kept[-1].number < number:
            self._kept.append(Minute(number))
        minute = self._kept[-1]
        minute.calls += 1
        minute.failed += failed
        minute.total += seconds
        minute.longest = max(minute.longest, seconds)

    def last_hour(self, now: float) -> list[Minute]:
        """All minutes up to the present, the oldest first, quiet ones too."""
        present = int(now // 60)
        there = {minute.number: minute for minute in self._kept}
        return [
            replace(there.get(number, Minute(number)))
            for number in range(present - KEPT + 1, present + 1)
        ]
