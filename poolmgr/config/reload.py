"""Reading the configuration again while the process runs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from poolmgr.errors import PoolmgrError
from poolmgr.settings import IsSettings, rules
from poolmgr.text import one_line

if TYPE_CHECKING:
    from poolmgr.config.options import Configuration

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)


@dataclass
class _Follower:
    """Settings in force, and who takes others."""

    group: str
    settings: Any
    adopt: Callable[[Any], None] | None


class Reload:
    """Reads the configuration again, and hands on what may change.

    A settings class says itself which of its fields may change at run time
    (``setting(..., mutable=True)``).  All groups are read and checked before
    anything changes: a mistake anywhere leaves all as it was.

    :param configuration: what was read at the start
    :param look: called with what is read; raises PoolmgrError if it cannot
        be used
    """

    def __init__(
        self,
        configuration: "Configuration",
        look: "Callable[[Configuration], None]" = lambda configuration: None,
    ) -> None:
        self._configuration = configuration
        self._look = look
        self._followers: list[_Follower] = []

    def follow(
        self, group: str, settings: S, adopt: Callable[[S], None] | None = None
    ) -> None:
        """Have a group's settings looked after.

        :param settings: those in force
        :param adopt: called with the settings to use from now on; None when
            nothing can change at run time
        """
        self._followers.append(_Follower(group, settings, adopt))

    def run(self) -> None:
        """Read it again and log what came of it; raises nothing of that."""
        try:
            configuration = self._configuration.again()
            self._look(configuration)
            read = [
                configuration.group(f.group, type(f.settings))
                for f in self._followers
            ]
        except PoolmgrError as error:
            LOG.error("the configuration stays as it was: %s", error)
            return
        changed = [
            _take(follower, settings)
            for follower, settings in zip(self._followers, read, strict=True)
        ]
        if not any(changed):
            LOG.info("configuration read again: nothing has changed")


def _take(follower: _Follower, read: Any) -> bool:
    """Adopt what may change, name the rest; whether anything differs."""
    may: dict[str, Any] = {}
    differs = False
    for field, rule in rules(type(read)):
        old = getattr(follower.settings, field.name)
        new = getattr(read, field.name)
        if old == new:
            continue
        differs = True
        mutable = rule.mutable and follower.adopt is not None
        if mutable:
            may[field.name] = new
        LOG.log(
            logging.INFO if mutable else logging.WARNING,
            "[%s] %s: %s -> %s%s",
            follower.group,
            field.name,
            "***" if rule.secret else _shown(old),
            "***" if rule.secret else _shown(new),
            "" if mutable else " needs a restart: not in force",
        )
    if may and follower.adopt is not None:
        follower.settings = replace(follower.settings, **may)
        follower.adopt(follower.settings)
    return differs


def _shown(value: object) -> str:
    return "unset" if value is None else one_line(repr(value))
