"""Reading the configuration again while the process runs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from poolmgr.config.options import Configuration
from poolmgr.errors import PoolmgrError
from poolmgr.settings.rules import IsSettings, rules
from poolmgr.text import one_line

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
    (``setting(..., mutable=True)``). All groups are read and checked before
    anything changes: a mistake anywhere leaves all as it was.

    :param configuration: what was read at the start
    :param look: called with what is read; raises PoolmgrError if it cannot
        be used
    """

    def __init__(
        self,
        configuration: Configuration,
        look: Callable[[Configuration], None] = lambda configuration: None,
    ) -> None:
        self._configuration = configuration
        self._look = look
        self._followers: list[_Follower] = []

    def follow(
        self, group: str, settings: S, adopt: Callable[[S], None] | None = None
    ) -> None:
        """Have a group's settings followed.

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
                configuration.group(each.group, type(each.settings))
                for each in self._followers
            ]
        except PoolmgrError as error:
            LOG.error("the configuration stays as it was: %s", error)
            return
        changed = [*map(_take, self._followers, read)]
        if not any(changed):
            LOG.info("configuration read again: nothing has changed")


def _take(follower: _Follower, read: IsSettings) -> bool:
    """Adopt what may change, name the rest; whether anything differs."""
    mutable: dict[str, Any] = {}
    differs = False
    for field, rule in rules(type(read)):
        name, adopt = field.name, rule.mutable and follower.adopt
        both = [getattr(each, name) for each in (follower.settings, read)]
        if both[0] == both[1]:
            continue
        differs = True
        shown = ["***" if rule.secret else _shown(value) for value in both]
        change = f"[{follower.group}] {name}: {' -> '.join(shown)}"
        if adopt:
            mutable[name] = both[1]
            LOG.info("%s", change)
        else:
            LOG.warning("%s needs a restart: not in force", change)
    if mutable and follower.adopt:
        follower.settings = replace(follower.settings, **mutable)
        follower.adopt(follower.settings)
    return differs


def _shown(value: object) -> str:
    return "unset" if value is None else one_line(repr(value))
