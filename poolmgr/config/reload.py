"""Reading the configuration again while the process runs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from poolmgr.config.options import Configuration
from poolmgr.config.values import options_of
from poolmgr.errors import PoolmgrError
from poolmgr.settings.rules import IsSettings
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)


@dataclass
class _Follower:
    """Settings in force, and who takes others."""

    group: str
    settings: Any
    adopt: Callable[[Any], None] | None

    def take(self, read: IsSettings) -> bool:
        """Adopt what may change, name the rest; whether anything differs."""
        mutable: dict[str, Any] = {}
        changed = 0
        for option in options_of(self.group, type(read)):
            new = getattr(read, option.name)
            old = getattr(self.settings, option.name)
            if old == new:
                continue
            changed += 1
            shown = one_line(f"{old!r} -> {new!r}")
            if option.rule.secret:
                shown = "*** -> ***"
            if option.rule.mutable and self.adopt:
                mutable[option.name] = new
                LOG.info("%s: %s", option.shown, shown)
            else:
                said = "%s: %s needs a restart: not in force"
                LOG.warning(said, option.shown, shown)
        if mutable and self.adopt:
            self.settings = replace(self.settings, **mutable)
            self.adopt(self.settings)
        return changed > 0


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
        if not any([*map(_Follower.take, self._followers, read)]):
            LOG.info("configuration read again: nothing has changed")
