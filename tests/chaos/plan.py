"""The parameters of a round."""

from dataclasses import dataclass
from typing import Literal

CloudKind = Literal["loopback", "fake", "real"]


@dataclass(frozen=True)
class Plan:
    """The parameters of a round; a seed repeats it, except for its timing.

    :ivar seed: seed of the random numbers
    :ivar seconds: how long jobs are submitted and workers killed
    :ivar least_kills: minimum number of killed workers
    :ivar least_deaths: minimum number of kills of the job server
    :ivar workers: number of workers
    :ivar customers: number of clients; each has one job at a time
    :ivar cloud: the cloud to use
    :ivar pause: mean seconds between two kills
    :ivar faults: whether the cloud fails as well
    :ivar server_share: share of the kills that hit the job server
    :ivar latency: seconds of a cloud call
    :ivar boot_time: seconds of a boot
    :ivar boot_spread: variation of the boot time, in seconds
    :ivar waits: whether the reaper waits until no job can be that old, like
        the command; otherwise all workers must have ended before
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
