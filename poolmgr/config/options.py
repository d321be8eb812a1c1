"""Options of the configuration file, the environment and the command line.

They are made from the settings classes, so that there is one place for a
default, a bound and a help text; and they are turned back into plain settings
here, each value checked, with where it stands in what is wrong with it.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import Field
from typing import TYPE_CHECKING, Any, TypeVar, get_origin
from typing import get_type_hints as hints

from poolmgr import secrecy
from poolmgr.config import values
from poolmgr.config.files import Written, all_names, files_of, variable_of
from poolmgr.config.references import Given, References
from poolmgr.drivers.base import Driver, make_driver
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import ConfigError, PluginNotFound
from poolmgr.permissions import is_exposed, warning
from poolmgr.plugins import Registry
from poolmgr.settings import (
    DriverSettings,
    GearmanSettings,
    IsSettings,
    MonitoringSettings,
    PoolSettings,
    ReaperSettings,
    Rule,
    WorkerSettings,
    rules,
)
from poolmgr.text import one_line

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)

#: The groups that there are whatever the driver.
_GROUPS: tuple[tuple[str, type[IsSettings]], ...] = (
    ("poolmgr", DriverSettings),
    ("poolmgr", PoolSettings),
    ("worker", WorkerSettings),
    ("reaper", ReaperSettings),
    ("monitoring", MonitoringSettings),
    ("gearman", GearmanSettings),
    ("nova", NovaSettings),
)


class Configuration:
    """What the files, the environment and the command line say.

    :param files: configuration files; when none is given, the first
        ``poolmgr.conf`` there is in the usual folders
    :param directories: folders of ``*.conf`` files; when none is given, the
        first ``poolmgr.conf.d`` there is
    :param alone: whether the files count alone, without the environment and
        the usual places
    :raises ConfigError: a file cannot be read
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self._given = (files, directories, alone)
        self._overrides: dict[tuple[str, str], Given] = {}
        usual = not alone
        own = _usual("poolmgr.conf") if usual and not files else []
        folders = _usual("poolmgr.conf.d") if usual and not directories else []
        self._sources = [*own, *folders, *files, *directories]
        files, directories = (
            [os.path.expanduser(path) for path in paths]
            for paths in (files, directories)
        )
        #: The files that are read, those of folders included, in order.
        self.files = [
            *files_of(own, folders),
            *files_of(files, directories),
        ]
        #: What is in them.
        self.written = Written(self.files)

    def use_driver(self, name: str) -> None:
        """Have the command line's ``--driver`` win over everything else."""
        self._override("--driver", "poolmgr", driver=name)

    def use_servers(self, servers: Sequence[str]) -> None:
        """Likewise ``--gearman-server``."""
        self._override(
            "--gearman-server", "gearman", servers=", ".join(servers)
        )

    def use_cloud(self, name: str) -> None:
        """Likewise ``--os-cloud``, whatever credentials are configured.

        :raises ConfigError: it is empty
        """
        if not name.strip():
            raise ConfigError("--os-cloud: is empty; name a cloud")
        self._override("--os-cloud", "nova", cloud=name, auth_url="")

    def again(self) -> "Configuration":
        """What the same files say now; the command line wins as before.

        :raises ConfigError: a file cannot be read, or one that was read is
            not there any more
        """
        fresh = Configuration(*self._given)
        fresh._overrides = self._overrides
        if gone := [f for f in self._sources if f not in fresh._sources]:
            raise ConfigError(f"{one_line(', '.join(gone))}: it is gone")
        return fresh

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

    def groups(
        self, drivers: Registry[Driver]
    ) -> list[tuple[str, type[IsSettings]]]:
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
            if group not in without:
                problems += self._problems(group, settings)
        found = [*dict.fromkeys(problems)]
        for problem in found[:-1]:
            LOG.error("%s", problem)
        if found:
            raise ConfigError(found[-1])

    def _problems(self, group: str, settings: type[IsSettings]) -> list[str]:
        found = []
        types = hints(settings)
        for field, _rule in rules(settings):
            try:
                self._value(group, field, types[field.name], settings)
            except ConfigError as error:
                found.append(str(error))
        if not found:
            try:
                self.group(group, settings)
            except ConfigError as error:  # they do not fit together
                found.append(str(error))
        return found

    def variables(self) -> list[str]:
        """The environment's variables, as far as it counts."""
        return [] if self._given[2] else [*os.environ]

    def given(self, group: str, name: str, rule: Rule) -> Given | None:
        """What sets an option; None if nothing does."""
        if (option := self._overrides.get((group, name))) is not None:
            return option
        names = all_names(group, name, rule)
        for each, old in names if not self._given[2] else ():
            variable = variable_of(each, old)
            if (text := os.environ.get(variable)) is not None:
                return Given("environment", variable, text)
        if (entry := self.written.find(*names)) is None:
            return None
        where = f"{entry.shown} in {one_line(entry.path)}, line {entry.line}"
        return Given("file", where, entry.text, entry)

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
        groups: dict[str, type[IsSettings]] = {"nova": NovaSettings}
        name = self.driver_name()
        groups[name.lower()] = self._driver_class(drivers).Settings
        for group, settings in groups.items():
            for field, rule in rules(settings):
                option = self.given(group, field.name, rule)
                if rule.secret and option and option.entry and option.text:
                    found[option.entry.path] = f"[{group}] {field.name}"
        if key := self.gearman().ssl_key:
            found[key] = "[gearman] ssl_key"
        for path, what in found.items():
            if is_exposed(path):
                LOG.warning("%s", warning(path, what))

    def group(self, group: str, settings: type[S]) -> S:
        """The settings of a class, from the options of a group.

        :raises ConfigError: one of them is wrong
        """
        types = hints(settings)
        found = {
            field.name: self._value(group, field, types[field.name], settings)
            for field, _rule in rules(settings)
        }
        return settings(**found)

    def _value(
        self,
        group: str,
        field: Field[Any],
        hint: Any,
        settings: type[IsSettings],
    ) -> Any:
        rule: Rule = field.metadata["rule"]
        option = self.given(group, field.name, rule)
        secrecy.show(field.name)
        if option is None:
            return field.default
        if rule.secret:
            secrecy.hide(option.text)
        try:
            _require_plain(option, rule)
            groups = [*_GROUPS, (group, settings)]
            text = References(self.given, groups).replaced(option, rule)
            if rule.secret:
                secrecy.hide(text)
            else:
                secrecy.show(option.text)
            return values.value_of(text, hint, field.default, rule)
        except ValueError as error:
            raise ConfigError(
                f"{option.where}: {one_line(str(error))}"
            ) from None

    def _driver_class(self, drivers: Registry[Driver]) -> type[Driver]:
        try:
            return drivers.load(self.driver_name())
        except PluginNotFound as error:
            raise ConfigError(
                f"{error} (option --driver, or [poolmgr] driver in the "
                "configuration file)"
            ) from None

    def _override(self, option: str, group: str, **given: str) -> None:
        for name, text in given.items():
            self._overrides[group, name] = Given("command line", option, text)


def _usual(name: str) -> list[str]:
    """The first of this name in the usual folders, if there is one."""
    home = os.path.expanduser("~")
    folders = ["/etc/poolmgr", "/etc"]
    if os.path.isabs(home):  # it is "~" for a user without one
        folders = [os.path.join(home, ".poolmgr"), home, *folders]
    paths = (os.path.join(folder, name) for folder in folders)
    return [path for path in paths if os.path.exists(path)][:1]


def _require_plain(option: Given, rule: Rule) -> None:
    """Refuse what is no value as people write it.

    :raises ValueError: what is wrong
    """
    text, entry = option.text, option.entry
    values.require_plain(text, rule.secret)
    if option.origin == "command line":
        return
    if entry is None:
        if text[:1] in ("'", '"') and text[0] == text[-1]:
            raise ValueError(
                "has quotes around it, which are a part of a value there; "
                "remove them"
            )
        if not rule.secret:
            values.require_no_comment(text, secret=False)
    else:
        if entry.other:
            raise ValueError(
                f"has another value in line {entry.other}; remove one"
            )
        if not entry.quoted:
            values.require_no_comment(text, rule.secret)


def options(settings: type[IsSettings]) -> "list[cfg.Opt]":
    """oslo.config's options for a settings class."""
    types = hints(settings)
    return [
        _option(field.name, types[field.name], field.default, rule)
        for field, rule in rules(settings)
    ]


def list_opts() -> "list[tuple[str, list[cfg.Opt]]]":
    """All options, by group, for oslo-config-generator and -validator."""
    from poolmgr.drivers.fake import FakeSettings

    found: dict[str, list[cfg.Opt]] = {}
    fake: tuple[str, type[IsSettings]] = ("fake", FakeSettings)
    for group, settings in (*_GROUPS, fake):
        found.setdefault(group, []).extend(options(settings))
    return list(found.items())


def _option(name: str, hint: Any, default: Any, rule: Rule) -> "cfg.Opt":
    # Only who makes the sample or the documentation needs it.
    from oslo_config import cfg

    kind = values.kind_of(hint)
    common: dict[str, Any] = {
        "default": list(default) if isinstance(default, tuple) else default,
        "help": rule.help,
        "secret": rule.secret,
        "mutable": rule.mutable,
        "deprecated_opts": [
            cfg.DeprecatedOpt(old, group=group)
            for group, old in (where.split(".") for where in rule.old)
        ],
    }
    if kind is bool:
        return cfg.BoolOpt(name, **common)
    if kind is int:
        # The bounds are numbers of the kind, though Rule cannot say so.
        bounds: dict[str, Any] = {"min": rule.min, "max": rule.max}
        return cfg.IntOpt(name, **bounds, **common)
    if kind is float:
        return cfg.FloatOpt(name, min=rule.min, max=rule.max, **common)
    if get_origin(kind) is tuple:
        return cfg.ListOpt(name, bounds=False, **common)
    return cfg.StrOpt(name, choices=rule.choices or None, **common)
