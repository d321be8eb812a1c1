"""Settings: plain values with their defaults, bounds and help.

What can be configured has a frozen dataclass of settings.  A caller of the
library fills it in as it likes; the configuration file and the command line do
through :mod:`poolmgr.config.options`, which makes an option of every field.
Both are checked alike.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from poolmgr.errors import ConfigError
from poolmgr.ownership import Authority, Ownership, clean_basename

T = TypeVar("T")

LogLevel = Literal["error", "warning", "info", "debug"]
LogFormat = Literal["text", "json"]


@dataclass(frozen=True)
class Rule:
    """What is known of a setting besides its type and default.

    :ivar help: what it does, for a person
    :ivar min: the lowest value, of a number
    :ivar max: the highest value, of a number
    :ivar choices: all values it can have
    :ivar secret: whether it must never be shown
    :ivar check: raises ValueError when the value cannot be used
    :ivar old: "group.name" of options it had in Libra
    :ivar mutable: whether it may change while the process runs
    :ivar words: whether blanks separate the values of a list, too
    """

    help: str
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    check: Callable[[Any], object] | None = None
    old: tuple[str, ...] = ()
    mutable: bool = False
    words: bool = False


def setting(default: T, help: str, **rule: Any) -> T:
    """A field of a settings class.

    :param default: its default; a list or tuple of text for many values
    :param help: what it does
    :param rule: the rest of :class:`Rule`
    """
    made: T = field(default=default, metadata={"rule": Rule(help, **rule)})
    return made


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def rules(settings: type[IsSettings]) -> list[tuple[Field[Any], Rule]]:
    """The fields of a settings class, each with its rule."""
    return [(f, f.metadata["rule"]) for f in fields(settings)]


def check(settings: IsSettings, group: str) -> None:
    """Hold every value against its rule; for ``__post_init__``.

    :param group: the group's name in the configuration, for the message
    :raises ConfigError: in one line, what is wrong with which setting
    """
    for each, rule in rules(type(settings)):
        value = getattr(settings, each.name)
        if (wrong := problem(value, rule)) is not None:
            raise ConfigError(f"[{group}] {each.name} {wrong}")


def problem(value: Any, rule: Rule) -> str | None:
    """What is wrong with a value, as words after the setting's name.

    :returns: None if nothing is; of a secret no more than that it is wrong
    """
    wrong = _problem(value, rule)
    return "is not what it has to be" if wrong and rule.secret else wrong


def _problem(value: Any, rule: Rule) -> str | None:
    if value is None:
        return None
    if rule.choices and value not in rule.choices:
        return f"must be one of {', '.join(rule.choices)}, not {value!r}"
    # Put like this since nan is neither above nor below anything.
    if rule.min is not None and not value >= rule.min:
        return f"must be at least {rule.min:g}, not {value!r}"
    if rule.max is not None and not value <= rule.max:
        return f"must be at most {rule.max:g}, not {value!r}"
    if rule.check is not None:
        try:
            rule.check(value)
        except ValueError as error:
            return str(error)
    return None


def _function_name(name: str) -> None:
    if not name or any(c.isspace() or not c.isprintable() for c in name):
        raise ValueError(
            f"must be a name without blanks and control characters, not "
            f"{name!r}"
        )


def _host(name: str) -> None:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})", name):
            raise ValueError(
                f"must be an address or a host name, not {name!r}"
            ) from None


def _job_servers(servers: tuple[str, ...]) -> None:
    from poolmgr.gearman.address import Address

    for server in servers:
        try:
            Address.parse(server)
        except ConfigError as error:
            raise ValueError(str(error)) from None


def _pool_name(name: str) -> None:
    # It has to fit, with the rest of a mark, into what clouds let us write.
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", name):
        raise ValueError(
            f"must be 1 to 40 letters, digits, '.', '-' and '_', not {name!r}"
        )


@dataclass(frozen=True)
class PoolSettings:
    """Settings of a pool: the group ``[poolmgr]``."""

    pool: str = setting(
        "libra",
        "Name of this pool. It is written on everything that poolmgr makes; "
        "poolmgr touches only what bears it (see authority). Pools that "
        "share a project of the cloud need different names.",
        check=_pool_name,
    )
    basename: str = setting(
        "libra",
        "First part of the devices' names; a uuid follows. '_' becomes '-'.",
        check=clean_basename,
        old=("mgm.node_basename",),
    )
    az: str = setting(
        "1",
        "What BUILD_DEVICE answers as 'az': the number that Libra knows "
        "this pool's availability zone by.",
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
        "Seconds that an action may take that waits for a device to boot.",
        min=0.01,
        max=86400,
        mutable=True,
    )
    short_timeout: float = setting(
        90.0,
        "Seconds that every other action may take. Libra's Admin API gives "
        "up after 120, queueing included.",
        min=0.01,
        max=86400,
        mutable=True,
    )
    quota_wait: float = setting(
        300.0,
        "Seconds that a build waits for room when the cloud's quota is used "
        "up, before it is a FAIL; at most half of what is left of its time. "
        "Meanwhile a few requests a minute find out whether there is room "
        "again. A build by hand does not wait.",
        min=0,
        max=86400,
    )
    check_port: int | None = setting(
        None,
        "TCP port that has to accept a connection on a floating IP before "
        "ASSIGN_IP is a PASS; if it does not, the address is detached again. "
        "Unset: no port is tried.",
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
        return Ownership(
            self.pool, clean_basename(self.basename), self.authority
        )


@dataclass(frozen=True)
class DriverSettings:
    """Which cloud: the group ``[poolmgr]``, too."""

    driver: str = setting(
        "nova",
        "Name of the driver that talks to the cloud ('poolmgr plugin list' "
        "shows those installed). Its settings are in the group of its name.",
    )


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of the worker: the group ``[worker]``."""

    function: str = setting(
        "libra_pool_mgm",
        "Name the worker registers at the job servers.",
        check=_function_name,
    )
    long_jobs: int = setting(
        500,
        "Most long jobs (builds) that run at once. More than these wait in "
        "the worker, see held_jobs. They never take the place of a short "
        "job.",
        min=1,
        max=10000,
        old=("mgm.threads",),
        mutable=True,
    )
    short_jobs: int = setting(
        50,
        "Most short jobs (all but builds) that run at once.",
        min=1,
        max=10000,
        mutable=True,
    )
    held_jobs: int = setting(
        10000,
        "Most long jobs that wait in the worker for one of the long jobs to "
        "end. The job server hands jobs out in order: only who takes the "
        "builds in front of an urgent job can reach it. With 0, jobs stay "
        "with the job server (for other workers) while all long jobs are "
        "taken, and short jobs behind a build wait with it.",
        min=0,
        max=1000000,
        mutable=True,
    )
    drain_timeout: float = setting(
        300.0,
        "Seconds that running jobs get after a signal to end. Those that are "
        "not done by then clear up and are answered with a FAIL.",
        min=0,
        max=86400,
        mutable=True,
    )

    log_level: LogLevel = setting(
        "info",
        "How much the worker logs, on standard error and into the file of "
        "--log-file. The options -v, -q and --debug of the command line go "
        "before it.",
        choices=("error", "warning", "info", "debug"),
        mutable=True,
    )
    log_format: LogFormat = setting(
        "text",
        "How the worker writes its log: 'text', or 'json' for one object a "
        "line. The option --log-format of the command line goes before it.",
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
        "Address to listen on. The pages show names, addresses and reasons "
        "to whoever can reach them, and ask nobody for a password.",
        check=_host,
    )
    port: int = setting(
        9473,
        "Port to listen on; 0 is any that is free, which the log names.",
        min=0,
        max=65535,
    )
    hosts: tuple[str, ...] = setting(
        (),
        "Names of this machine that the pages may be asked by, besides its "
        "addresses, its host name and 'localhost'. Other names are refused: "
        "by one, a page of somebody else's could have a browser read these.",
        words=True,
    )

    def __post_init__(self) -> None:
        check(self, "monitoring")


ReaperMode = Literal["off", "report", "delete"]


@dataclass(frozen=True)
class ReaperSettings:
    """Settings of what looks for things that nobody owns: ``[reaper]``."""

    mode: ReaperMode = setting(
        "report",
        "What a worker does about devices and floating IPs of this pool that "
        "no job owns. 'off': it does not look. 'report': it logs each, with "
        "the reason. 'delete': it deletes them, too.",
        choices=("off", "report", "delete"),
        mutable=True,
    )
    interval: float = setting(
        300.0,
        "Seconds between two looks. What is deleted was seen in two of them.",
        min=0.1,
        max=86400,
        mutable=True,
    )
    older_than: float = setting(
        1800.0,
        "Seconds that a thing has to be old before it can count as unowned. "
        "The longest that a job may take by the time-outs of [poolmgr] "
        "counts instead if it is more.",
        min=0,
        max=31536000,
        mutable=True,
    )
    limit: int = setting(
        10,
        "Most things deleted at one look; the rest is left to the next.",
        min=1,
        max=10000,
        mutable=True,
    )

    def __post_init__(self) -> None:
        check(self, "reaper")


@dataclass(frozen=True)
class GearmanSettings:
    """Settings of the links to the job servers: the group ``[gearman]``."""

    servers: tuple[str, ...] = setting(
        ("localhost:4730",),
        "Job servers, host:port. Each is served.",
        check=_job_servers,
        old=("mgm.gearman",),
        words=True,
    )
    ssl_ca: str | None = setting(
        None,
        "File of certificates (PEM) that the job servers' are verified with. "
        "With it every link is TLS.",
        old=("mgm.gearman_ssl_ca",),
    )
    ssl_cert: str | None = setting(
        None,
        "File of the certificate (PEM) to show to the job servers. Needs "
        "ssl_key and ssl_ca.",
        old=("mgm.gearman_ssl_cert",),
    )
    ssl_key: str | None = setting(
        None,
        "File of the private key (PEM) of ssl_cert.",
        old=("mgm.gearman_ssl_key",),
    )
    keepalive: bool = setting(
        True,
        "Have the system probe links on which nothing happens.",
        old=("mgm.gearman_keepalive",),
    )
    keepcnt: int = setting(
        3,
        "Probes without an answer that end a link.",
        min=1,
        max=127,
        old=("mgm.gearman_keepcnt",),
    )
    keepidle: int = setting(
        10,
        "Seconds without traffic before the first probe.",
        min=1,
        max=32767,
        old=("mgm.gearman_keepidle",),
    )
    keepintvl: int = setting(
        5,
        "Seconds between two probes.",
        min=1,
        max=32767,
        old=("mgm.gearman_keepintvl",),
    )
    heartbeat: float = setting(
        10.0,
        "Seconds without a word from a job server before it is asked for "
        "one, and then seconds it has to answer.",
        min=0.1,
        max=3600,
    )
    connect_timeout: float = setting(
        10.0,
        "Seconds that connecting may take, the TLS handshake included.",
        min=0.1,
        max=600,
    )
    reconnect_sleep: float = setting(
        5.0,
        "Longest pause between two attempts to connect, in seconds. The "
        "first are shorter.",
        min=0.1,
        max=3600,
    )

    def __post_init__(self) -> None:
        check(self, "gearman")
        if not self.servers:
            raise ConfigError("[gearman] servers names no job server")
        if bool(self.ssl_cert) != bool(self.ssl_key):
            given, lacking = ("ssl_cert", "ssl_key")
            if self.ssl_key:
                given, lacking = lacking, given
            raise ConfigError(f"[gearman] {given} is given, but no {lacking}")
        if self.ssl_cert and not self.ssl_ca:
            raise ConfigError(
                "[gearman] ssl_cert is given, but no ssl_ca to verify the "
                "job servers with"
            )
