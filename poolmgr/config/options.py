"""Options of the configuration file, the environment and the command line.

They are made from the settings classes, so that there is one place for a
default, a bound and a help text. Here they become plain settings, each value
checked, with its place in what is wrong with it.
"""

import logging
from collections.abc import Sequence
from dataclasses import Field
from typing import TYPE_CHECKING, Any, TypeVar, get_origin
from typing import get_type_hints as hints

from poolmgr import secrecy
from poolmgr.config import values
from poolmgr.config.sources import Group, Sources
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import make_driver
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError, PluginNotFound
from poolmgr.gearman.settings import GearmanSettings
from poolmgr.plugins import Registry
from poolmgr.rules import IsSettings, Rule, rules
from poolmgr.settings import (
    DriverSettings,
    MonitoringSettings,
    PoolSettings,
    ReaperSettings,
    WorkerSettings,
)
from poolmgr.text import one_line

if TYPE_CHECKING:  # only who makes the sample or the documentation loads it
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)

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
        for group, settings in self.groups(drivers):
            for field, rule in rules(settings):
                option = self.given(group, field.name, rule)
                if rule.secret and option and option.entry and option.text:
                    found[option.entry.path] = f"[{group}] {field.name}"
        if key := self.gearman().ssl_key:
            found[key] = "[gearman] ssl_key"
        for path, what in found.items():
            if secrecy.is_exposed(path):
                LOG.warning("%s", secrecy.exposure(one_line(path), what))

    def _read(
        self, group: str, settings: type[IsSettings]
    ) -> tuple[dict[str, Any], list[str]]:
        """The values of a group, and what is wrong with them."""
        found, problems = {}, []
        types = hints(settings)
        for field, rule in rules(settings):
            secrecy.show(field.name)
            found[field.name] = field.default
            option = self.given(group, field.name, rule)
            if option is None:
                continue
            if rule.secret:
                secrecy.hide(option.text)
            try:
                groups = [*_GROUPS, (group, settings)]
                text = self.text_of(option, groups, rule)
                if rule.secret:
                    secrecy.hide(text)
                else:
                    secrecy.show(option.text)
                found[field.name] = values.value_of(
                    text, types[field.name], field.default, rule
                )
            except ValueError as error:
                problems.append(f"{option.where}: {one_line(str(error))}")
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
    fake: Group = ("fake", FakeSettings)
    for group, settings in (*_GROUPS, fake):
        types = hints(settings)
        found.setdefault(group, []).extend(
            _option(field, types[field.name]) for field, _ in rules(settings)
        )
    return list(found.items())


def _option(field: Field[Any], hint: Any) -> "cfg.Opt":
    from oslo_config import cfg

    rule: Rule = field.metadata["rule"]
    default: Any = field.default
    kind, more = values.kind_of(hint), dict[str, Any]()
    if get_origin(kind) is tuple:
        default, more = list(default), {"bounds": False}
    elif kind in (int, float):
        more = {"min": rule.min, "max": rule.max}
    elif kind is str:
        more = {"choices": rule.choices or None}
    kinds = {bool: cfg.BoolOpt, int: cfg.IntOpt, float: cfg.FloatOpt}
    kinds |= {str: cfg.StrOpt}
    made: cfg.Opt = kinds.get(kind, cfg.ListOpt)(
        field.name,
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
