"""Settings: frozen dataclasses with defaults, bounds and help.

A caller of the library fills them in as it likes; from the configuration files
and the command line :mod:`poolmgr.config.options` makes them.
"""

from dataclasses import dataclass
from typing import Literal

from poolmgr.ownership import Authority, Ownership, clean_basename
from poolmgr.settings.rules import IsSettings as IsSettings
from poolmgr.settings.rules import Rule as Rule
from poolmgr.settings.rules import check as check
from poolmgr.settings.rules import like as like
from poolmgr.settings.rules import setting as setting

LogLevel = Literal["error", "warning", "info", "debug"]
LogFormat = Literal["text", "json"]
ReaperMode = Literal["off", "report", "delete"]


@dataclass(frozen=True)
class PoolSettings:
    """Settings of a pool: the group ``[poolmgr]``."""

    pool: str = setting(
        "libra",
        "Name of this pool. It marks everything that poolmgr makes. Pools in "
        "one project of the cloud need different names.",
        # It has to fit, with the rest of a mark, into what clouds allow.
        check=like(
            r"[A-Za-z0-9._-]{1,40}",
            "1 to 40 letters, digits, '.', '-' and '_'",
        ),
    )
    basename: str = setting(
        "libra",
        "First part of device names; a uuid follows. '_' becomes '-'.",
        check=clean_basename,
        old=("mgm.node_basename",),
    )
    az: str = setting(
        "1",
        "What BUILD_DEVICE answers as 'az': Libra's number of the zone.",
        old=("mgm.az",),
    )
    authority: Authority = setting(
        "pattern",
        "What may be deleted, assigned and removed. 'owned': only what bears "
        "this pool's mark. 'pattern': also unmarked devices named "
        "<basename>-<uuid>, as the original Pool Manager named them, and "
        "unmarked floating IPs that are unattached or on such a device. "
        "'any': everything the credentials can reach.",
        choices=("owned", "pattern", "any"),
    )
    explain_failures: bool = setting(
        False,
        "Add the reason to an answer that is a FAIL, as 'error' with 'code', "
        "'message' and 'retryable'. The reason is logged in any case.",
        mutable=True,
    )
    long_timeout: float = setting(
        600.0,
        "Seconds for an action that waits for a device to boot.",
        min=0.01,
        mutable=True,
    )
    short_timeout: float = setting(
        90.0,
        "Seconds for every other action. Libra's Admin API gives up after "
        "120, queueing included.",
        min=0.01,
        mutable=True,
    )
    quota_wait: float = setting(
        300.0,
        "Seconds that a build waits for room when the cloud's quota is used "
        "up, at most half of the time it has left. A build by hand does not "
        "wait.",
        min=0,
    )
    check_port: int | None = setting(
        None,
        "TCP port that a floating IP has to answer on before ASSIGN_IP is a "
        "PASS; else it is detached again. Unset: no port is tried.",
        min=1,
        max=65535,
        old=("mgm.tcp_check_port",),
        mutable=True,
    )

    def __post_init__(self) -> None:
        check(self, "poolmgr")

    @property
    def ownership(self) -> Ownership:
        """What this pool may touch."""
        name = clean_basename(self.basename)
        return Ownership(self.pool, name, self.authority)


@dataclass(frozen=True)
class DriverSettings:
    """Which cloud: the group ``[poolmgr]``, too."""

    driver: str = setting(
        "nova",
        "Driver that talks to the cloud, see 'poolmgr plugin list'. Its "
        "settings are in the group of its name.",
    )


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of the worker: the group ``[worker]``."""

    function: str = setting(
        "libra_pool_mgm",
        "Function that the worker registers at the job servers.",
        check=like(
            r"[^\s\x00-\x1f\x7f-\x9f]+",
            "a name without blanks and control characters",
        ),
    )
    long_jobs: int = setting(
        500,
        "Most long jobs (builds) that run at once; more wait in the worker.",
        min=1,
        old=("mgm.threads",),
        mutable=True,
    )
    short_jobs: int = setting(
        50,
        "Most short jobs (all but builds) that run at once.",
        min=1,
        mutable=True,
    )
    held_jobs: int = setting(
        10000,
        "Most long jobs that wait in the worker. Only who takes the builds "
        "in front of a short job reaches it. With 0, builds stay with the "
        "job server, and short jobs behind them wait, too.",
        min=0,
        mutable=True,
    )
    drain_timeout: float = setting(
        300.0,
        "Seconds that running jobs get after a signal to end. Then they "
        "clean up and are answered with a FAIL.",
        min=0,
        mutable=True,
    )
    log_level: LogLevel = setting(
        "info",
        "How much the worker logs, unless -v, -q or --debug say it.",
        choices=("error", "warning", "info", "debug"),
        mutable=True,
    )
    log_format: LogFormat = setting(
        "text",
        "Format of the worker's log, 'json' for one object a line, unless "
        "--log-format says it.",
        choices=("text", "json"),
    )

    def __post_init__(self) -> None:
        check(self, "worker")


@dataclass(frozen=True)
class MonitoringSettings:
    """Settings of the worker's status page: ``[monitoring]``."""

    enabled: bool = setting(
        True,
        "Serve the status page (/), the metrics for Prometheus (/metrics), "
        "and the worker's health (/healthz, /readyz) over HTTP. If the port "
        "is taken, the worker says so and works without.",
    )
    address: str = setting(
        "127.0.0.1",
        "Address to listen on. Whoever reaches the pages can read names, "
        "addresses and reasons without a password.",
        check=like(
            r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|[0-9A-Fa-f:.]+",
            "an address or a host name",
        ),
    )
    port: int = setting(
        9473,
        "Port to listen on; 0 is any free one, which the log names.",
        min=0,
        max=65535,
    )
    hosts: tuple[str, ...] = setting(
        (),
        "Further host names that the pages may be asked by. Without them: "
        "addresses, this machine's name, 'localhost'. Others are refused, as "
        "a foreign page could use them to read these (DNS rebinding).",
        words=True,
    )

    def __post_init__(self) -> None:
        check(self, "monitoring")


@dataclass(frozen=True)
class ReaperSettings:
    """Settings of the search for orphans: the group ``[reaper]``."""

    mode: ReaperMode = setting(
        "report",
        "What a worker does about orphans: devices and floating IPs of this "
        "pool that no job owns. 'off': it does not look. 'report': it logs "
        "each, with the reason. 'delete': it deletes them, too.",
        choices=("off", "report", "delete"),
        mutable=True,
    )
    interval: float = setting(
        300.0,
        "Seconds between two runs. An orphan is deleted by the second.",
        min=0.1,
        mutable=True,
    )
    older_than: float = setting(
        1800.0,
        "Seconds that an orphan has to be old; at least the longest time-out "
        "of a job counts.",
        min=0,
        mutable=True,
    )
    limit: int = setting(
        10,
        "Most deletions of one run; the rest is left to the next.",
        min=1,
        mutable=True,
    )

    def __post_init__(self) -> None:
        check(self, "reaper")
