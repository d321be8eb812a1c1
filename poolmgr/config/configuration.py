"""The configuration: settings from files, environment and command line."""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, Self, TypeVar

from poolmgr import settings
from poolmgr.config import options, sources
from poolmgr.config.sources import Entry, Key
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import driver_plugins, make_driver
from poolmgr.errors import ConfigError, PluginNotFound
from poolmgr.settings import IsSettings, Option, options_of
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)


class _References(Template):
    """A value with references to other options, in oslo.config's syntax:
    ``$name``, ``${group.name}``, and ``$$`` for a ``$``."""

    idpattern = r"[_a-z][\._a-z0-9]*"


class Configuration:
    """The settings that files, environment and command line make.

    :param files: configuration files; if there are none, the first
        ``poolmgr.conf`` in the default folders
    :param directories: folders with ``*.conf`` files; if there are none, the
        first ``poolmgr.conf.d`` in the default folders
    :param alone: whether to read only the given files, not the environment
        and the default folders
    :ivar alone: the parameter
    :ivar drivers: the installed drivers
    :ivar files: the options that each file sets, in the order of reading
    :ivar environment: the options that the environment sets
    :raises ConfigError: a file cannot be read
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self._paths: list[str] = []
        if not files and not alone:
            self._paths += sources.default_path("poolmgr.conf")
        if not directories and not alone:
            self._paths += sources.default_path("poolmgr.conf.d")
        self._paths += map(os.path.expanduser, (*files, *directories))
        self.alone = alone
        self.drivers = driver_plugins()
        self._command_line: sources.Entries = {}
        self._read_sources()

    def _read_sources(self) -> None:
        environment = {} if self.alone else os.environ
        self.files = sources.read_files(self._paths)
        self.environment = sources.read_environment(environment)

    def reread(self) -> Self:
        """Read the same files again, with the same command line.

        :raises ConfigError: a file cannot be read
        """
        fresh = copy.copy(self)
        fresh._read_sources()
        return fresh

    def use(self, option: str, key: Key, text: str) -> None:
        """Set an option from the command line.

        :param option: the command-line option, for messages
        :param key: the option of the configuration to set
        :param text: its value; a "$" is literal
        """
        text = text.replace("$", "$$")
        self._command_line[key] = Entry(key, text, "command line", option)

    def entry(self, option: Option) -> Entry | None:
        """Return the text that sets an option; None if there is none.

        The command line takes precedence over the environment, and that over
        the files, the last one first. Within each, current names take
        precedence over deprecated ones.
        """
        files = reversed(self.files)
        for source in (self._command_line, self.environment, *files):
            for key in options.keys_of(option):
                if key in source:
                    return source[key]
        return None

    # -- settings -----------------------------------------------------------

    def driver_name(self) -> str:
        """Return the name of the configured driver."""
        return self.group("poolmgr", settings.DriverSettings).driver

    def pool(self) -> settings.PoolSettings:
        """Return the group ``[poolmgr]``."""
        return self.group("poolmgr", settings.PoolSettings)

    def worker(self) -> settings.WorkerSettings:
        """Return the group ``[worker]``."""
        return self.group("worker", settings.WorkerSettings)

    def reaper(self) -> settings.ReaperSettings:
        """Return the group ``[reaper]``."""
        return self.group("reaper", settings.ReaperSettings)

    def monitoring(self) -> settings.MonitoringSettings:
        """Return the group ``[monitoring]``."""
        return self.group("monitoring", settings.MonitoringSettings)

    def gearman(self) -> GearmanSettings:
        """Return the group ``[gearman]``."""
        return self.group("gearman", GearmanSettings)

    def group(self, group: str, kind: type[S]) -> S:
        """Return the settings of a group.

        :param kind: the settings class
        :raises ConfigError: a value is invalid
        """
        made, problems = self._read_group(group, kind)
        if made is None:
            raise ConfigError(problems[0])
        return made

    def groups(self) -> list[options.Group]:
        """Return all groups and their settings classes, the configured
        driver's included.

        :raises ConfigError: the driver is not installed
        :raises PluginError: the driver cannot be loaded
        """
        found = [*options.GROUPS]
        # Those of nova are checked with any driver: GROUPS has them.
        if (name := self.driver_name().lower()) != "nova":
            found.append((name, self._driver_class().Settings))
        return found

    def read_all(self) -> list[tuple[str, Any]]:
        """Return all groups and their settings.

        :raises ConfigError: a value is invalid; if there are several, the
            others are logged
        :raises PluginError: the configured driver cannot be loaded
        """
        found, problems, groups = [], [], [*options.GROUPS]
        try:
            groups = self.groups()
        except ConfigError as error:
            # The mistakes in the other groups are reported as well.
            problems.append(str(error))
        for group, kind in groups:
            made, wrong = self._read_group(group, kind)
            found.append((group, made))
            problems += wrong
        # A mistake in [poolmgr] may be found twice: it is read for the driver.
        require_no_problems([*dict.fromkeys(problems)])
        return found

    def values(self) -> list[tuple[Option, Any, Entry | None]]:
        """Return all options, their values, and the text that sets each.

        :raises PoolmgrError: see :meth:`read_all`
        """
        return [
            (option, getattr(made, option.name), self.entry(option))
            for group, made in self.read_all()
            for option in options_of(group, type(made))
        ]

    def make_driver(self) -> Driver:
        """Make the configured driver with the settings of its group.

        :raises PluginError: the driver cannot be loaded
        :raises ConfigError: the driver is not installed, or a value of any
            group is invalid
        """
        made = dict(self.read_all())
        name = self.driver_name().lower()
        return make_driver(self._driver_class(), made[name])

    def _driver_class(self) -> type[Driver]:
        try:
            return self.drivers.load(self.driver_name())
        except PluginNotFound as error:
            raise ConfigError(
                f"{error} (option --driver, or [poolmgr] driver in the "
                "configuration file)"
            ) from None

    def _read_group(
        self, group: str, kind: type[S]
    ) -> tuple[S | None, list[str]]:
        """Return the settings of a group, or the problems of its values."""
        known = options.options_by_key((*options.GROUPS, (group, kind)))
        values, problems = {}, []
        for option in options_of(group, kind):
            # A password may be equal to the name of an option.
            secrecy.show(option.name)
            if (entry := self.entry(option)) is None:
                continue
            try:
                text = self._text(option, known)
                # Before the text is parsed, because an error may repeat it.
                note = secrecy.hide if option.secret else secrecy.show
                note(entry.text, text)
                values[option.name] = options.parse_value(text, option)
            except ValueError as error:
                problems.append(f"{entry.where}: {one_line(str(error))}")
            except RecursionError:
                problems.append(f"{entry.where}: refers to itself")
        if not problems:
            try:
                return kind(**values), []
            except ConfigError as error:  # the values contradict each other
                problems.append(str(error))
        return None, problems

    def _text(self, option: Option, known: Mapping[Key, Option]) -> str:
        """Return an option's text with its references replaced."""
        if (entry := self.entry(option)) is None:
            return options.format_value(option.default)
        if entry.problem:
            raise ValueError(entry.problem)
        template, texts = _References(entry.text), {}
        for name in template.get_identifiers():
            group, _, plain = name.rpartition(".")
            # In Libra's files a name refers to the group it is written in.
            named = known.get((group or entry.key[0], plain))
            named = named or known.get((group or option.group, plain))
            if named is None:
                raise ValueError(
                    "refers to an option that does not exist; write $$ for a $"
                )
            texts[name] = self._text(named, known)
        return template.safe_substitute(texts)


def require_no_problems(problems: Sequence[str]) -> None:
    """Raise the last of several problems, and log the others.

    :raises ConfigError: there is a problem
    """
    for problem in problems[:-1]:
        LOG.error("%s", problem)
    if problems:
        raise ConfigError(problems[-1])
