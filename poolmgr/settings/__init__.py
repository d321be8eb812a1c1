"""Settings: frozen dataclasses with defaults, bounds and help.

Library users create them; for commands :mod:`poolmgr.config.configuration`
makes them from configuration files, environment and command line.

A settings class is a frozen dataclass of :func:`setting` fields whose
``__post_init__`` calls :func:`check`.
"""

import re
import types
import typing
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from poolmgr.errors import ConfigError
from poolmgr.ownership import Authority, Ownership, clean_basename

T = TypeVar("T")

#: The largest absolute value of a number. Longer timeouts overflow in some
#: system calls.
_LARGEST = 1e9


class IsSettings(Protocol):
    """A settings class: a dataclass of :func:`setting` fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def setting(default: T, help: str, **more: Any) -> T:
    """Declare a field of a settings class.

    Its type is bool, int, float, str, ``tuple[str, ...]`` or ``Literal``, or
    one of these and None.

    :param default: the default; for a list, a tuple of strings
    :param help: a description for operators
    :param more: ``min``, ``max``, ``secret``, ``check``, ``mutable`` and
        ``words`` of :class:`Option`
    """
    # Not Field[T]: for type checkers a field's default has its own type.
    made: T = field(default=default, metadata={"help": help, **more})
    return made


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option of the configuration.

    :ivar group: name of its group
    :ivar name: its name
    :ivar kind: bool, int, float, str or tuple
    :ivar choices: the allowed values; empty if any value is allowed
    :ivar default: the value if nothing sets the option
    :ivar help: a description for operators
    :ivar min: the lowest number allowed
    :ivar max: the highest number allowed
    :ivar secret: whether the value must never be shown
    :ivar check: a function that raises ValueError or ConfigError for an
        invalid value
    :ivar mutable: whether a reload may change the value
    :ivar words: whether blanks, too, separate the values of a list
    """

    group: str
    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    help: str
    min: float | None = None
    max: float | None = None
    secret: bool = False
    check: Callable[[Any], object] | None = None
    mutable: bool = False
    words: bool = False

    @property
    def shown(self) -> str:
        """Group and name, as ``[group] name``."""
        return f"[{self.group}] {self.name}"

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, to follow the option's name.

        :returns: a text without the value if the option is a secret; empty
            if the value is valid
        """
        if value is None:
            return ""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, not {value!r}"
        # Negated, because every comparison with NaN is false.
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            return f"must be up to {_LARGEST:g}, not {value!r}"
        if self.min is not None and value < self.min:
            return f"must be at least {self.min:g}, not {value!r}"
        if self.max is not None and value > self.max:
            return f"must be at most {self.max:g}, not {value!r}"
        try:
            if self.check is not None:
                self.check(value)
        except (ValueError, ConfigError) as error:
            return "is not valid" if self.secret else str(error)
        return ""


def options_of(group: str, settings: type[IsSettings]) -> list[Option]:
    """Return the options of a settings class."""
    hints, found = typing.get_type_hints(settings), []
    for each in fields(settings):
        hint, choices = hints[each.name], ()
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            (hint,) = set(typing.get_args(hint)) - {types.NoneType}
        if typing.get_origin(hint) is typing.Literal:
            hint, choices = str, typing.get_args(hint)
        kind, name = typing.get_origin(hint) or hint, each.name
        found.append(
            Option(group, name, kind, choices, each.default, **each.metadata)
        )
    return found


def check(settings: IsSettings, group: str) -> None:
    """Check all values of a settings class; call it in ``__post_init__``.

    :param group: name of the group in the configuration, for the message
    :raises ConfigError: a value is invalid
    """
    for option in options_of(group, type(settings)):
        if problem := option.problem(getattr(settings, option.name)):
            raise ConfigError(f"{option.shown} {problem}")


def like(pattern: str, description: str) -> Callable[[str], None]:
    """Return a ``check`` for strings that must match a pattern.

    :param pattern: a regular expression
    :param description: what must match it, for the message
    """

    def check_pattern(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {description}, not {text!r}")

    return check_pattern


@dataclass(frozen=True)
class PoolSettings:
    """Settings of a pool: the group ``[poolmgr]``."""

    # Short, because a mark has to fit into a floating IP's description.
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
    az: str = setting("1", "Libra's zone number, returned as 'az'.")
    authority: Authority = setting(  # noqa: RUF009 - returns a field
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
        600.0, "Timeout of a build, in seconds.", min=0.01, mutable=True
    )
    # Libra's Admin API gives up after 120 seconds, queueing included.
    short_timeout: float = setting(
        90.0, "Timeout of other jobs, in seconds.", min=0.01, mutable=True
    )
    quota_wait: float = setting(
        300.0,
        "Seconds that a build waits while the cloud's quota is used up, but "
        "at most half of its remaining time. Commands do not wait.",
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
        "nova", "Cloud driver. Its options are in the group with its name."
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
        300.0, "Timeout of draining, in seconds.", min=0, mutable=True
    )
    log_level: Literal["error", "warning", "info", "debug"] = setting(
        "info", "Log level, unless -v or -q is given.", mutable=True
    )
    log_format: Literal["text", "json"] = setting(
        "text", "Format of the worker's log, unless --log-format is given."
    )


@dataclass(frozen=True)
class MonitoringSettings:
    """Settings of the status page: the group ``[monitoring]``."""

    enabled: bool = setting(True, "Serve status page, metrics and health.")
    address: str = setting(
        "127.0.0.1",
        "Address to listen on. Anyone who can connect can read names, "
        "addresses and reasons without a password.",
        check=like(r"[A-Za-z0-9_.:-]+", "an address or a host name"),
    )
    port: int = setting(
        9473, "Port to listen on; 0: any free one.", min=0, max=65535
    )
    hosts: tuple[str, ...] = setting(
        (),
        "Host names that requests may use, besides addresses, 'address', this "
        "machine's name and 'localhost'.",
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
        "Minimum age of an orphan in seconds. The longest timeout of a job "
        "counts if that is longer.",
        min=0,
        mutable=True,
    )
    limit: int = setting(
        10, "Maximum deletions in one run.", min=1, mutable=True
    )
