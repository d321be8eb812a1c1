"""Reading the configuration again while the process runs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.config.values import options_of
from poolmgr.drivers.base import Driver
from poolmgr.errors import PoolmgrError
from poolmgr.plugins import Registry
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
    :param drivers: the drivers that are installed
    :param adopters: take the settings to use from now on, by their class;
        nothing of other classes can change
    """

    def __init__(
        self,
        conf: Configuration,
        drivers: Registry[Driver],
        adopters: Mapping[type[Any], Callable[[Any], None]],
    ) -> None:
        self._conf = conf
        self._drivers = drivers
        self._adopters = adopters
        self._in_force: list[_Group] = [
            (group, conf.group(group, settings))
            for group, settings in conf.groups(drivers)
        ]

    def run(self) -> None:
        """Read it again and log what came of it; raises nothing of that."""
        try:
            read = self._read()
        except PoolmgrError as error:
            LOG.error("configuration not reloaded: %s", error)
            return
        if read == self._in_force:
            LOG.info("configuration reloaded: no changes")
        self._in_force = [*map(self._take, self._in_force, read)]

    def _read(self) -> list[_Group]:
        conf = self._conf.again()
        log_remarks(conf, self._drivers)
        conf.require_values(self._drivers)
        connection_options(conf.gearman())
        return [
            (group, conf.group(group, type(settings)))
            for group, settings in self._in_force
        ]

    def _take(self, present: _Group, read: _Group) -> _Group:
        """Adopt what may change, name the rest; returns what is in force."""
        group, settings = present
        adopt = self._adopters.get(type(settings))
        mutable: dict[str, Any] = {}
        for option in options_of(group, type(settings)):
            old = getattr(settings, option.name)
            new = getattr(read[1], option.name)
            if old == new:
                continue
            shown = one_line(f"{old!r} -> {new!r}")
            if option.rule.secret:
                shown = "*** -> ***"
            if adopt and option.rule.mutable:
                mutable[option.name] = new
                LOG.info("%s: %s", option.shown, shown)
            else:
                said = "%s: %s needs a restart, keeping the old value"
                LOG.warning(said, option.shown, shown)
        if adopt and mutable:
            settings = replace(settings, **mutable)
            adopt(settings)
        return group, settings
