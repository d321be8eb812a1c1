"""Options of the configuration file, the environment and the command line.

They are made from the settings classes, so that there is one place for a
default, a bound and a help text. Here they become plain settings, each value
checked, with its place in what is wrong with it.
"""

import logging
from collections.abc import Sequence
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from poolmgr.config import values
from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.config.sources import Sources
from poolmgr.config.values import Option, options_of
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import make_driver
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError, PluginNotFound
from poolmgr.plugins import Registry
from poolmgr.settings import (
    DriverSettings,
    MonitoringSettings,
    PoolSettings,
    ReaperSettings,
    WorkerSettings,
)
from poolmgr.settings.rules import IsSettings
from poolmgr.text import one_line, secrecy

if TYPE_CHECKING:  # only who makes the sample or the documentation loads it
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)
Group = tuple[str, type[IsSettings]]

#: The groups that there are whatever the driver.
_GROUPS: tuple[Group, ...] = (
    ("poolmgr", DriverSettings),
    ("poolmgr", PoolSettings),
    ("worker", WorkerSettings),
    ("reaper", ReaperSettings),
    ("monitoring", MonitoringSettings),
    ("gearman", GearmanSettings),
    ("nova", NovaSettings),
)


class Configuration(Sources):
    """The settings that the files, the environment and the command line
    make."""

    def driver_name(self) -> str:
        """Name of the driver to use."""
        return self.group("poolmgr", DriverSettings).driver

    def pool(self) -> PoolSettings:
        """The group ``[poolmgr]``."""
        return self.group("poolmgr", PoolSettings)

    def worker(self) -> WorkerSettings:
        """The group ``[worker]``."""
        return self.group("worker", WorkerSettings)

    def reaper(self) -> ReaperSettings:
        """The group ``[reaper]``."""
        return self.group("reaper", ReaperSettings)

    def monitoring(self) -> MonitoringSettings:
        """The group ``[monitoring]``."""
        return self.group("monitoring", MonitoringSettings)

    def gearman(self) -> GearmanSettings:
        """The group ``[gearman]``."""
        return self.group("gearman", GearmanSettings)

    def group(self, group: str, settings: type[S]) -> S:
        """The settings of a class, from the options of a group.

        :raises ConfigError: one of them is wrong
        """
        found, problems = self._read(group, settings)
        if problems:
            raise ConfigError(problems[0])
        return settings(**found)

    def groups(self, drivers: Registry[Driver]) -> list[Group]:
        """The settings classes and their groups: poolmgr's own, Nova's, and
        those of the driver that is configured.

        :raises ConfigError: there is none of its name
        :raises PluginError: it cannot be loaded
        """
        found = [*_GROUPS]
        if (name := self.driver_name().lower()) != "nova":
            found.append((name, self._driver_class(drivers).Settings))
        return found

    def options(self, drivers: Registry[Driver]) -> list[Option]:
        """The options of all groups.

        :raises ConfigError: there is no driver of the configured name
        :raises PluginError: it cannot be loaded
        """
        return [*chain(*starmap(options_of, self.groups(drivers)))]

    def require_values(
        self, drivers: Registry[Driver], without: Sequence[str] = ()
    ) -> None:
        """Go on only with values that can be used, whoever needs them.

        :param without: groups that are not looked at
        :raises ConfigError: which one is wrong; there is a line in the log
            for each of the others
        :raises PluginError: the driver that is configured cannot be loaded
        """
        problems = []
        groups = [*_GROUPS]
        try:
            groups = self.groups(drivers)
        except ConfigError as error:
            problems.append(str(error))
        for group, settings in groups:
            if group in without:
                continue
            found, wrong = self._read(group, settings)
            problems += wrong
            if not wrong:
                try:
                    settings(**found)
                except ConfigError as error:  # they do not fit together
                    problems.append(str(error))
        problems = [*dict.fromkeys(problems)]
        for problem in problems[:-1]:
            LOG.error("%s", problem)
        if problems:
            raise ConfigError(problems[-1])

    def make_driver(self, drivers: Registry[Driver]) -> Driver:
        """Make the driver that is configured, with its own group's settings.

        :raises PluginError: it cannot be loaded
        :raises ConfigError: there is no such driver, or a value is wrong, be
            it one of another group
        """
        # To check job servers takes long, and only some commands need any.
        self.require_values(drivers, without=["gearman"])
        cls = self._driver_class(drivers)
        settings = self.group(self.driver_name().lower(), cls.Settings)
        return make_driver(cls, settings)

    def warn_of_exposed_secrets(self, drivers: Registry[Driver]) -> None:
        """Log every file with a secret that everybody can read, once."""
        found = {}
        for option in self.options(drivers):
            given = self.given(option)
            if option.rule.secret and given and given.entry and given.text:
                found[given.entry.path] = option.shown
        if key := self.gearman().ssl_key:
            found[key] = "[gearman] ssl_key"
        for path, what in found.items():
            if said := secrecy.exposure(path, what):
                LOG.warning("%s", one_line(said))

    def _read(
        self, group: str, settings: type[IsSettings]
    ) -> tuple[dict[str, Any], list[str]]:
        """The values of a group, and what is wrong with them."""
        found, problems = {}, []
        own = options_of(group, settings)
        known = [*chain(*starmap(options_of, _GROUPS)), *own]
        for option in own:
            secrecy.show(option.name)
            found[option.name] = option.default
            given = self.given(option)
            if given is None:
                continue
            secret = option.rule.secret
            if secret:
                secrecy.hide(given.text)
            try:
                text = self.text_of(option, given, known)
                if secret:
                    secrecy.hide(text)
                else:
                    secrecy.show(given.text)
                found[option.name] = values.value_of(text, option)
            except ValueError as error:
                problems.append(f"{given.where}: {one_line(str(error))}")
        return found, problems

    def _driver_class(self, drivers: Registry[Driver]) -> type[Driver]:
        try:
            return drivers.load(self.driver_name())
        except PluginNotFound as error:
            raise ConfigError(
                f"{error} (option --driver, or [poolmgr] driver in the "
                "configuration file)"
            ) from None


def list_opts() -> "list[tuple[str, list[cfg.Opt]]]":
    """All options, by group, for oslo-config-generator and -validator."""
    from poolmgr.drivers.fake import FakeSettings

    found: dict[str, list[cfg.Opt]] = {}
    groups: list[Group] = [*_GROUPS, ("fake", FakeSettings)]
    for group, settings in groups:
        options = options_of(group, settings)
        found.setdefault(group, []).extend(map(_option, options))
    return list(found.items())


def _option(option: Option) -> "cfg.Opt":
    from oslo_config import cfg

    rule, default, kind = option.rule, option.default, option.kind
    more: dict[str, Any] = {}
    if get_origin(kind) is tuple:
        default, more = list(default), {"bounds": False}
    elif kind in (int, float):
        more = {"min": rule.min, "max": rule.max}
    elif kind is str:
        more = {"choices": rule.choices or None}
    kinds = {bool: cfg.BoolOpt, int: cfg.IntOpt, float: cfg.FloatOpt}
    kinds |= {str: cfg.StrOpt}
    made: cfg.Opt = kinds.get(kind, cfg.ListOpt)(
        option.name,
        default=default,
        help=rule.help,
        secret=rule.secret,
        mutable=rule.mutable,
        deprecated_opts=[
            cfg.DeprecatedOpt(name, group=group)
            for group, name in (old.split(".") for old in rule.old)
        ],
        **more,
    )
    return made
