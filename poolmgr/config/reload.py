"""Reading the configuration again while the process runs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from poolmgr.config.configuration import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.errors import PoolmgrError
from poolmgr.settings.rules import options_of
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: A group's name, and its settings.
_Group = tuple[str, Any]


class Reload:
    """Reads the configuration again, and hands on what may change.

    A settings class says itself which of its fields may change at run time
    (``setting(..., mutable=True)``). All groups are read and checked before
    anything changes: a mistake anywhere leaves all as it was.

    :param conf: what was read at the start
    :param adopters: take the settings to use from now on, by their class;
        nothing of other classes can change
    """

    def __init__(
        self,
        conf: Configuration,
        adopters: Mapping[type[Any], Callable[[Any], None]],
    ) -> None:
        self._conf = conf
        self._adopters = adopters
        self._in_force = conf.read_all()

    def run(self) -> None:
        """Read it again and log what came of it; raises nothing of that."""
        try:
            conf = self._conf.again()
            log_remarks(conf)
            conf.read_all()
            conf.gearman().connection_options()
            read = [(g, conf.group(g, type(old))) for g, old in self._in_force]
        except PoolmgrError as error:
            LOG.error("configuration not reloaded: %s", error)
            return
        if read == self._in_force:
            LOG.info("configuration reloaded: no changes")
        self._in_force = [*map(self._take, self._in_force, read)]

    def _take(self, present: _Group, read: _Group) -> _Group:
        """Adopt what may change, name the rest; returns what is in force."""
        group, old = present
        _group, new = read
        adopt = self._adopters.get(type(old))
        changed: dict[str, Any] = {}
        for option in options_of(group, type(old)):
            before, now = (getattr(each, option.name) for each in (old, new))
            if before == now:
                continue
            shown = one_line(f"{before!r} -> {now!r}")
            if option.secret:
                shown = "*** -> ***"
            if adopt and option.mutable:
                changed[option.name] = now
                LOG.info("%s: %s", option.shown, shown)
            else:
                said = "%s: %s needs a restart, keeping the old value"
                LOG.warning(said, option.shown, shown)
        in_force = replace(old, **changed)
        if adopt and changed:
            adopt(in_force)
        return group, in_force
