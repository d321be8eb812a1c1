"""Settings: frozen dataclasses with defaults, bounds and help.

Library users create them; for commands :mod:`poolmgr.config.configuration`
makes them from configuration files, environment and command line.
"""

from dataclasses import dataclass
from typing import Literal

from poolmgr.ownership import Authority, Ownership, clean_basename
from poolmgr.settings.rules import IsSettings as IsSettings
from poolmgr.settings.rules import check as check
from poolmgr.settings.rules import like as like
from poolmgr.settings.rules import setting as setting


@dataclass(frozen=True)
class PoolSettings:
    """Settings of a pool: the group ``[poolmgr]``."""

    # Short, because clouds limit the length of the tags that hold marks.
    pool: str = setting(
        "libra",
        "Name of this pool, in all its marks. Pools in one project of the "
        "cloud need different names.",
        check=like(r"[A-Za-z0-9._-]{1,40}", "1 to 40 letters, digits, . - _"),
    )
    basename: str = setting(
        "libra",
        "First part of device names; a uuid follows. '_' becomes '-'.",
        check=clean_basename,
    )
    az: str = setting("1", "Number of Libra's zone, for 'az' in answers.")
    authority: Authority = setting(
        "pattern",
        "What poolmgr may delete, assign and remove. 'owned': only what has "
        "this pool's mark. 'pattern': also unmarked devices named "
        "<basename>-<uuid>, as Libra's are, and unmarked floating IPs that "
        "are unattached or on such a device. 'any': all that the credentials "
        "can reach.",
    )
    explain_failures: bool = setting(
        False, "Add the reason to FAIL answers, as 'error'.", mutable=True
    )
    long_timeout: float = setting(
        600.0, "Seconds for a build of a device.", min=0.01, mutable=True
    )
    # Libra's Admin API gives up after 120 seconds, queueing included.
    short_timeout: float = setting(
        90.0, "Seconds for every other job.", min=0.01, mutable=True
    )
    quota_wait: float = setting(
        300.0,
        "Seconds that a build waits for room while the cloud's quota is used "
        "up; at most half of its remaining time. Commands do not wait.",
        min=0,
    )
    check_port: int | None = setting(
        None,
        "TCP port that must accept a connection before ASSIGN_IP is a PASS; "
        "otherwise the address is detached again. Unset: no check.",
        min=1,
        max=65535,
        mutable=True,
    )

    def __post_init__(self) -> None:
        check(self, "poolmgr")

    @property
    def ownership(self) -> Ownership:
        """The rules of which resources belong to this pool."""
        name = clean_basename(self.basename)
        return Ownership(self.pool, name, self.authority)


@dataclass(frozen=True)
class DriverSettings:
    """The choice of the driver, also in the group ``[poolmgr]``."""

    driver: str = setting(
        "nova", "Cloud driver; its settings are in the group of its name."
    )


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of the worker: the group ``[worker]``."""

    function: str = setting(
        "libra_pool_mgm",
        "Function that the worker registers with the job servers.",
        check=like(r"\S+", "a name without blanks"),
    )
    long_jobs: int = setting(
        500, "Maximum number of concurrent builds.", min=1, mutable=True
    )
    short_jobs: int = setting(
        50, "Maximum number of other concurrent jobs.", min=1, mutable=True
    )
    held_jobs: int = setting(
        10000,
        "Maximum number of prefetched builds, to reach short jobs behind "
        "them. With 0, short jobs wait behind builds.",
        min=0,
        mutable=True,
    )
    drain_timeout: float = setting(
        300.0, "Seconds for running jobs after a stop.", min=0, mutable=True
    )
    log_level: Literal["error", "warning", "info", "debug"] = setting(
        "info", "Level of the log, without -v and -q.", mutable=True
    )
    log_format: Literal["text", "json"] = setting(
        "text", "Format of the worker's log, if --log-format is not given."
    )


@dataclass(frozen=True)
class MonitoringSettings:
    """Settings of the status page: the group ``[monitoring]``."""

    enabled: bool = setting(True, "Serve status page, metrics and health.")
    address: str = setting(
        "127.0.0.1",
        "Address to listen on. Whoever can connect to it can read names, "
        "addresses and reasons without a password.",
        check=like(r"[A-Za-z0-9_.:-]+", "an address or a host name"),
    )
    port: int = setting(
        9473, "Port to listen on; 0: any free one.", min=0, max=65535
    )
    hosts: tuple[str, ...] = setting(
        (),
        "Host names that requests may use, besides addresses, this machine's "
        "name and 'localhost'.",
        words=True,
    )


@dataclass(frozen=True)
class ReaperSettings:
    """Settings of the reaper: the group ``[reaper]``."""

    mode: Literal["off", "report", "delete"] = setting(
        "report",
        "What a worker does about orphans: devices and floating IPs of this "
        "pool that no job owns. 'report': logs each. 'delete': deletes them, "
        "too.",
        mutable=True,
    )
    interval: float = setting(
        300.0, "Seconds between two runs.", min=0.1, mutable=True
    )
    older_than: float = setting(
        1800.0,
        "Minimum age of an orphan in seconds. The longest time-out of a job "
        "counts if that is longer.",
        min=0,
        mutable=True,
    )
    limit: int = setting(
        10, "Maximum deletions in one run.", min=1, mutable=True
    )
