"""Options of the configuration file, the environment and the command line.

Here they become plain settings, each value checked, with its place in what is
wrong with it.
"""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any, Self, TypeVar

from poolmgr.config.files import (
    Given,
    Key,
    Layer,
    from_command_line,
    read_environment,
    read_files,
    usual_path,
)
from poolmgr.config.gearman_settings import GearmanSettings
from poolmgr.config.groups import GROUPS, Group, by_name
from poolmgr.config.groups import list_opts as list_opts
from poolmgr.config.values import (
    Option,
    Template,
    as_text,
    options_of,
    value_of,
)
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import make_driver
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

LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=IsSettings)


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
            self._paths += usual_path("poolmgr.conf")
        if not directories and not alone:
            self._paths += usual_path("poolmgr.conf.d")
        self._paths += map(os.path.expanduser, (*files, *directories))
        self.alone = alone
        self._command_line: Layer = {}
        self._read_sources()

    def _read_sources(self) -> None:
        self.files = read_files(self._paths)
        self.environment = {} if self.alone else read_environment(os.environ)

    def again(self) -> Self:
        """What the same files say now; the command line wins as before.

        :raises ConfigError: a file cannot be read
        """
        fresh = copy.copy(self)
        fresh._read_sources()
        return fresh

    def use_driver(self, name: str) -> None:
        """Have the command line's ``--driver`` win over everything else."""
        self._use("--driver", ("poolmgr", "driver"), name)

    def use_servers(self, servers: Sequence[str]) -> None:
        """Likewise ``--gearman-server``."""
        self._use(
            "--gearman-server", ("gearman", "servers"), ", ".join(servers)
        )

    def use_cloud(self, name: str) -> None:
        """Likewise ``--os-cloud``, whatever credentials are configured.

        :raises ConfigError: it is empty
        """
        if not name.strip():
            raise ConfigError("--os-cloud: is empty; name a cloud")
        self._use("--os-cloud", ("nova", "cloud"), name)
        self._use("--os-cloud", ("nova", "auth_url"), "")

    def _use(self, option: str, key: Key, text: str) -> None:
        self._command_line[key] = from_command_line(option, key, text)

    def given(self, option: Option) -> Given | None:
        """What sets an option; None if nothing does.

        The command line wins, then the environment, then the last file; in
        each the first of the option's names.
        """
        sources = (
            self._command_line,
            self.environment,
            *reversed(self.files),
        )
        for source in sources:
            for name in option.names:
                if name in source:
                    return source[name]
        return None

    # -- settings -----------------------------------------------------------

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
        made, problems = self._make(group, settings)
        if made is None:
            raise ConfigError(problems[0])
        return made

    def groups(self, drivers: Registry[Driver]) -> list[Group]:
        """The settings classes and their groups: poolmgr's own, Nova's, and
        those of the driver that is configured.

        :raises ConfigError: there is none of its name
        :raises PluginError: it cannot be loaded
        """
        found = [*GROUPS]
        if (name := self.driver_name().lower()) != "nova":
            found.append((name, self._driver_class(drivers).Settings))
        return found

    def require_values(self, drivers: Registry[Driver]) -> None:
        """Go on only with values that can be used, whoever needs them.

        :raises ConfigError: which one is wrong; there is a line in the log
            for each of the others
        :raises PluginError: the driver that is configured cannot be loaded
        """
        problems, groups = [], [*GROUPS]
        try:
            groups = self.groups(drivers)
        except ConfigError as error:
            problems.append(str(error))
        for _made, wrong in starmap(self._make, groups):
            problems += wrong
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
        self.require_values(drivers)
        cls = self._driver_class(drivers)
        settings = self.group(self.driver_name().lower(), cls.Settings)
        return make_driver(cls, settings)

    def _driver_class(self, drivers: Registry[Driver]) -> type[Driver]:
        try:
            return drivers.load(self.driver_name())
        except PluginNotFound as error:
            raise ConfigError(
                f"{error} (option --driver, or [poolmgr] driver in the "
                "configuration file)"
            ) from None

    def _make(
        self, group: str, settings: type[S]
    ) -> tuple[S | None, list[str]]:
        """The settings of a class, or what is wrong with them."""
        own = options_of(group, settings)
        known = by_name((*GROUPS, (group, settings)))
        values: dict[str, Any] = {}
        problems = []
        for option in own:
            secrecy.show(option.name)
            values[option.name] = option.default
            if (given := self.given(option)) is not None:
                try:
                    values[option.name] = self._value(given, option, known)
                except ValueError as error:
                    problems.append(f"{given.where}: {one_line(str(error))}")
        if not problems:
            try:
                return settings(**values), []
            except ConfigError as error:  # they do not fit together
                problems.append(str(error))
        return None, problems

    def _value(
        self, given: Given, option: Option, known: Mapping[Key, Option]
    ) -> Any:
        note = secrecy.hide if option.rule.secret else secrecy.show
        note(given.text)
        try:
            text = self._text(given, option, known)
        except RecursionError:
            raise ValueError("refers to itself") from None
        note(text)
        return value_of(text, option)

    def _text(
        self, given: Given, option: Option, known: Mapping[Key, Option]
    ) -> str:
        """A text with the values of the options that it names."""
        if given.problem:
            raise ValueError(given.problem)
        template = Template(given.text)
        values = {}
        for name in template.get_identifiers():
            group, _, plain = name.rpartition(".")
            named = known.get((group or option.group, plain))
            named = named or known.get((group or given.key[0], plain))
            if named is None:
                raise ValueError(
                    "refers to an option that does not exist; write $$ for a $"
                )
            other = self.given(named)
            values[name] = (
                self._text(other, named, known)
                if other is not None
                else as_text(named.default)
            )
        return template.safe_substitute(values)
