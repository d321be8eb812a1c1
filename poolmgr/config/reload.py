"""Reloading the configuration of a running process."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from poolmgr.config.configuration import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.errors import PoolmgrError
from poolmgr.settings import options_of

LOG = logging.getLogger(__name__)


class Reload:
    """Reloads the configuration and applies the changes of mutable options.

    All groups are read and checked before anything is applied: with any
    mistake, nothing changes.

    :param conf: the configuration that the process started with
    :param adopters: for each group with mutable options, a function that
        puts new settings into effect
    """

    def __init__(
        self, conf: Configuration, **adopters: Callable[[Any], None]
    ) -> None:
        self._conf = conf
        self._adopters = adopters
        self._present = conf.read_all()

    def run(self) -> None:
        """Reload the configuration; log errors instead of raising them."""
        try:
            conf = self._conf.reread()
            log_remarks(conf)
            conf.read_all()
            # Reads the TLS files, which may be broken.
            conf.gearman().connection_options()
            new = [conf.group(g, type(old)) for g, old in self._present]
        except Exception as error:  # a driver's settings can raise anything
            is_bug = not isinstance(error, PoolmgrError)
            LOG.error("configuration not reloaded: %s", error, exc_info=is_bug)
            return
        if new == [old for _group, old in self._present]:
            LOG.info("configuration reloaded: no changes")
        self._present = [
            (group, self._apply(group, old, now))
            for (group, old), now in zip(self._present, new, strict=True)
        ]

    def _apply(self, group: str, old: Any, new: Any) -> Any:
        """Apply the mutable options, and log all that differ.

        :returns: the settings in effect
        """
        adopt = self._adopters.get(group)
        changed: dict[str, Any] = {}
        for option in options_of(group, type(old)):
            before, now = (getattr(each, option.name) for each in (old, new))
            if before == now:
                continue
            shown = f"{before!r} -> {now!r}"
            if option.secret:
                shown = "*** -> ***"
            if adopt and option.mutable:
                changed[option.name] = now
                LOG.info("%s: %s", option.shown, shown)
            else:
                text = "%s: %s needs a restart, keeping the old value"
                LOG.warning(text, option.shown, shown)
        present = replace(old, **changed)
        if adopt and changed:
            adopt(present)
        return present
