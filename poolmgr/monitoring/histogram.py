"""How long things took, in buckets."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts of durations; not for several threads at once.

    :param bounds: upper bounds of the buckets in seconds, ascending; one
        without a bound comes on top
    :ivar counts: how many fell into each bucket
    :ivar total: the sum of all, in seconds
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def copy(self) -> "Histogram":
        """One that does not change any more."""
        made = Histogram(self.bounds)
        made.counts = list(self.counts)
        made.total = self.total
        return made
