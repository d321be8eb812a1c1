"""The configuration: files, environment and command line become settings.

Each value is checked, and what is wrong with it is said with its place.
"""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, Self, TypeVar

from poolmgr import settings
from poolmgr.config import options, sources
from poolmgr.config.sources import Given, Key
from poolmgr.drivers.base import Driver
from poolmgr.drivers.verbs import driver_plugins, make_driver
from poolmgr.errors import ConfigError, PluginNotFound
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.settings.rules import IsSettings, Option, options_of
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)


class _References(Template):
    """A text that names options as oslo.config has it: ``$name`` or
    ``${group.name}``; ``$$`` stands for a ``$``."""

    idpattern = r"[_a-z][\._a-z0-9]*"


class Configuration:
    """The settings that the files, the environment and the command line
    make.

    :param files: configuration files; when none is given, the first
        ``poolmgr.conf`` there is in the usual folders
    :param directories: folders of ``*.conf`` files; when none is given, the
        first ``poolmgr.conf.d`` there is
    :param alone: whether the files count alone, without the environment and
        the usual places
    :ivar alone: the same
    :ivar drivers: the drivers that are installed
    :ivar files: what each file sets, in the order in which they are read
    :ivar environment: what the environment sets
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
            self._paths += sources.usual_path("poolmgr.conf")
        if not directories and not alone:
            self._paths += sources.usual_path("poolmgr.conf.d")
        self._paths += map(os.path.expanduser, (*files, *directories))
        self.alone = alone
        self.drivers = driver_plugins()
        self._command_line: sources.Layer = {}
        self._read_sources()

    def _read_sources(self) -> None:
        environment = {} if self.alone else os.environ
        self.files = sources.read_files(self._paths)
        self.environment = sources.read_environment(environment)

    def again(self) -> Self:
        """What the same files say now; the command line wins as before.

        :raises ConfigError: a file cannot be read
        """
        fresh = copy.copy(self)
        fresh._read_sources()
        return fresh

    def use(self, option: str, key: Key, text: str) -> None:
        """Have an option of the command line win over everything else.

        :param option: as it is written there
        :param key: the option of the configuration that it sets
        :param text: its value, in which a "$" means itself
        """
        text = text.replace("$", "$$")
        self._command_line[key] = Given(key, text, "command line", option)

    def given(self, option: Option) -> Given | None:
        """What sets an option; None if nothing does.

        The command line wins, then the environment, then the last file; in
        each the first of the option's names.
        """
        files = reversed(self.files)
        for source in (self._command_line, self.environment, *files):
            for name in options.names_of(option):
                if name in source:
                    return source[name]
        return None

    # -- settings -----------------------------------------------------------

    def driver_name(self) -> str:
        """Name of the driver to use."""
        return self.group("poolmgr", settings.DriverSettings).driver

    def pool(self) -> settings.PoolSettings:
        """The group ``[poolmgr]``."""
        return self.group("poolmgr", settings.PoolSettings)

    def worker(self) -> settings.WorkerSettings:
        """The group ``[worker]``."""
        return self.group("worker", settings.WorkerSettings)

    def reaper(self) -> settings.ReaperSettings:
        """The group ``[reaper]``."""
        return self.group("reaper", settings.ReaperSettings)

    def monitoring(self) -> settings.MonitoringSettings:
        """The group ``[monitoring]``."""
        return self.group("monitoring", settings.MonitoringSettings)

    def gearman(self) -> GearmanSettings:
        """The group ``[gearman]``."""
        return self.group("gearman", GearmanSettings)

    def group(self, group: str, kind: type[S]) -> S:
        """The settings of a class, from the options of a group.

        :raises ConfigError: one of them is wrong
        """
        made, problems = self._make(group, kind)
        if made is None:
            raise ConfigError(problems[0])
        return made

    def groups(self) -> list[options.Group]:
        """The settings classes and their groups: poolmgr's own, Nova's, and
        those of the driver that is configured.

        :raises ConfigError: there is none of its name
        :raises PluginError: it cannot be loaded
        """
        found = [*options.GROUPS]
        if (name := self.driver_name().lower()) != "nova":
            found.append((name, self._driver_class().Settings))
        return found

    def read_all(self) -> list[tuple[str, Any]]:
        """The settings of all groups, whoever needs them.

        :raises ConfigError: which value is wrong; there is a line in the log
            for each of the others
        :raises PluginError: the driver that is configured cannot be loaded
        """
        found, problems, groups = [], [], [*options.GROUPS]
        try:
            groups = self.groups()
        except ConfigError as error:
            problems.append(str(error))
        for group, kind in groups:
            made, wrong = self._make(group, kind)
            found.append((group, made))
            problems += wrong
        *others, last = dict.fromkeys(problems) or [""]
        for problem in others:
            LOG.error("%s", problem)
        if last:
            raise ConfigError(last)
        return found

    def make_driver(self) -> Driver:
        """Make the driver that is configured, with its own group's settings.

        :raises PluginError: it cannot be loaded
        :raises ConfigError: there is no such driver, or a value is wrong, be
            it one of another group
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

    def _make(self, group: str, kind: type[S]) -> tuple[S | None, list[str]]:
        """The settings of a class, or what is wrong with them."""
        known = options.by_name((*options.GROUPS, (group, kind)))
        values, problems = {}, []
        for option in options_of(group, kind):
            secrecy.show(option.name)
            if (given := self.given(option)) is None:
                continue
            try:
                text = self._text(option, known)
                note = secrecy.hide if option.secret else secrecy.show
                note(given.text, text)
                values[option.name] = options.value_of(text, option)
            except ValueError as error:
                problems.append(f"{given.where}: {one_line(str(error))}")
            except RecursionError:
                problems.append(f"{given.where}: refers to itself")
        if not problems:
            try:
                return kind(**values), []
            except ConfigError as error:  # they do not fit together
                problems.append(str(error))
        return None, problems

    def _text(self, option: Option, known: Mapping[Key, Option]) -> str:
        """The text of an option, with those of the options that it names."""
        if (given := self.given(option)) is None:
            return options.as_text(option.default)
        if given.problem:
            raise ValueError(given.problem)
        template, texts = _References(given.text), {}
        for name in template.get_identifiers():
            group, _, plain = name.rpartition(".")
            named = known.get((group or option.group, plain))
            named = named or known.get((group or given.key[0], plain))
            if named is None:
                raise ValueError(
                    "refers to an option that does not exist; write $$ for a $"
                )
            texts[name] = self._text(named, known)
        return template.safe_substitute(texts)
