"""What a run is like."""

from dataclasses import dataclass
from typing import Literal

CloudKind = Literal["loopback", "fake", "real"]


@dataclass(frozen=True)
class Plan:
    """What a round is like: the same for the same seed, but for its timing.

    :ivar seed: of all chance in it
    :ivar seconds: how long jobs come in and workers are killed
    :ivar least_kills: it goes on until so many workers were killed
    :ivar least_deaths: and until the job server was so often
    :ivar workers: how many there are
    :ivar customers: how many clients; each has one job at a time
    :ivar cloud: which cloud
    :ivar pause: seconds between two kills, on the average
    :ivar faults: whether the cloud fails, too
    :ivar server_share: part of the kills that are the job server's
    :ivar latency: seconds that a call of the cloud takes
    :ivar boot_time: seconds that a boot takes
    :ivar boot_spread: seconds that it takes less or more
    :ivar waits: whether the reaper waits until no job can be that old, as
        the command does; else all workers have to be gone before
    """

    seed: int
    seconds: float = 300.0
    least_kills: int = 1
    least_deaths: int = 0
    workers: int = 2
    customers: int = 12
    cloud: CloudKind = "loopback"
    pause: float = 2.5
    faults: bool = True
    server_share: float = 0.08
    latency: float = 0.15
    boot_time: float = 1.2
    boot_spread: float = 0.7
    waits: bool = True
