"""Options of the configuration file and the command line, by oslo.config.

They are made from the rooms' settings classes, so that there is one place
for a default, a bound and a help text; and they are turned back into plain
settings here.  Nothing else in poolmgr sees oslo.config.
"""

import logging
import re
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints

from oslo_config import cfg

from poolmgr import broken, secrecy
from poolmgr.drivers.base import Driver
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
from poolmgr.written import files_of

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

_ORIGINS = {
    cfg.Locations.user: "file",
    cfg.Locations.environment: "environment",
    # What the command line says is set here.
    cfg.Locations.set_override: "command line",
}

#: Options of libra.cfg that have no meaning any more, and why.
OBSOLETE = {
    "mgm.rm_fip_ignore_500": (
        "whether an address was removed is read back from the cloud"
    ),
    "mgm.build_diag_timeout": "devices are not probed while they boot",
    "gearman.poll": "job servers are not polled",
}


class Configuration:
    """What the files, the environment and the command line say.

    :param files: configuration files; when none is given, those that
        oslo.config finds for "poolmgr"
    :param directories: folders of ``*.conf`` files
    :param alone: whether the files count alone, without the environment and
        the folders that oslo.config finds
    :raises ConfigError: a file cannot be read
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self._given = (files, directories, alone)
        self._overrides: list[
            tuple[str, type[IsSettings], dict[str, object]]
        ] = []
        self._conf = cfg.ConfigOpts()
        args = [f"--config-file={name}" for name in files]
        args += [f"--config-dir={name}" for name in directories]
        try:
            self._conf(
                args,
                project="poolmgr",
                prog="poolmgr",
                use_env=not alone,
                default_config_dirs=[] if alone else None,
            )
        except (cfg.Error, OSError, UnicodeError) as error:
            read = files or cfg.find_config_files("poolmgr")
            if wrong := broken.not_text(files_of(read, directories)):
                raise ConfigError(wrong) from None
            if isinstance(error, cfg.Error):
                raise ConfigError(_unquoted(error)) from None
            named = ", ".join([*files, *directories]) or "poolmgr.conf"
            raise ConfigError(
                f"configuration in {one_line(named)} cannot be read: "
                f"{one_line(str(error))}"
            ) from None

    def use_driver(self, name: str) -> None:
        """Have the command line's ``--driver`` win over everything else."""
        self._override("poolmgr", DriverSettings, driver=name)

    def use_servers(self, servers: Sequence[str]) -> None:
        """Likewise ``--gearman-server``."""
        self._override("gearman", GearmanSettings, servers=list(servers))

    def use_cloud(self, name: str) -> None:
        """Likewise ``--os-cloud``, whatever credentials are configured."""
        self._override("nova", NovaSettings, cloud=name, auth_url=None)

    def again(self) -> "Configuration":
        """What the same files say now; the command line wins as before.

        :raises ConfigError: a file cannot be read, or one that was read is
            not there any more
        """
        fresh = Configuration(*self._given)
        for group, settings, values in self._overrides:
            fresh._override(group, settings, **values)
        if gone := [f for f in self._files if f not in fresh._files]:
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

        :raises PluginError: it cannot be loaded
        """
        found = [*_GROUPS]
        if (name := self.driver_name().lower()) != "nova":
            found.append((name, drivers.load(name).Settings))
        return found

    def origin(self, group: str, name: str) -> str:
        """What set an option that was asked for: "default", "file",
        "environment" or "command line"."""
        where = self._conf.get_location(name, group)
        return _ORIGINS.get(where.location, "default") if where else "default"

    def make_driver(self, drivers: Registry[Driver]) -> Driver:
        """Make the driver that is configured, with its own group's settings.

        :raises PluginError: it cannot be loaded
        :raises ConfigError: there is no such driver, or its settings are
            wrong
        """
        name = self.driver_name()
        try:
            cls = drivers.load(name)
        except PluginNotFound as error:
            raise ConfigError(
                f"{error} (option --driver, or [poolmgr] driver in the "
                "configuration file)"
            ) from None
        return cls(self.group(name.lower(), cls.Settings))

    def warn_of_old_names(self) -> None:
        """Log every option of libra.cfg that has no effect, once."""
        for where, reason in OBSOLETE.items():
            if self._is_set(where):
                LOG.warning(
                    "%s has no meaning any more and is ignored: %s",
                    _shown(where),
                    reason,
                )
        novas = [old for _f, rule in rules(NovaSettings) for old in rule.old]
        given = [_shown(where) for where in novas if self._is_set(where)]
        if given and (driver := self.driver_name()) != "nova":
            LOG.warning(
                "not used by the driver %r: %s", driver, ", ".join(given)
            )

    def warn_of_exposed_secrets(self, drivers: Registry[Driver]) -> None:
        """Log every file with a secret that everybody can read, once."""
        found = {}
        groups: dict[str, type[IsSettings]] = {"nova": NovaSettings}
        name = self.driver_name()
        groups[name.lower()] = drivers.load(name).Settings
        for group, settings in groups.items():
            self._register(group, settings)
            for field, rule in rules(settings):
                if rule.secret and self._value(group, field.name, rule):
                    where = self._conf.get_location(field.name, group)
                    if where and where.location is cfg.Locations.user:
                        found[where.detail] = f"[{group}] {field.name}"
        if key := self.gearman().ssl_key:
            found[key] = "[gearman] ssl_key"
        for path, what in found.items():
            if is_exposed(path):
                LOG.warning("%s", warning(path, what))

    def group(self, group: str, settings: type[S]) -> S:
        """The settings of a class, from the options of a group.

        :raises ConfigError: one of them is wrong
        """
        self._register(group, settings)
        values = {
            field.name: self._value(group, field.name, rule)
            for field, rule in rules(settings)
        }
        return settings(**values)

    def _value(self, group: str, name: str, rule: Rule) -> Any:
        try:
            value = _plain(self._conf[group][name])
        except (cfg.Error, ValueError) as error:
            where = broken.where(
                group, name, rule, self.files, not self._given[2]
            )
            why = broken.why(error, rule.secret)
            raise ConfigError(f"{where}: {why}") from None
        if rule.secret:
            secrecy.hide(value)
        return value

    @property
    def files(self) -> list[str]:
        """The files that are read, those of folders included, in order."""
        return files_of(self._conf.config_file, self._conf.config_dir)

    @property
    def _files(self) -> list[str]:
        return [*self._conf.config_file, *self._conf.config_dir]

    def _override(
        self, group: str, settings: type[IsSettings], **values: object
    ) -> None:
        self._overrides.append((group, settings, values))
        self._register(group, settings)
        for name, value in values.items():
            self._conf.set_override(name, value, group)

    def _register(self, group: str, settings: type[IsSettings]) -> None:
        self._conf.register_opts(options(settings), group=group)

    def _is_set(self, where: str) -> bool:
        group, name = where.split(".")
        self._conf.register_opt(cfg.StrOpt(name), group=group)
        return self._conf[group][name] is not None


def _unquoted(error: cfg.Error) -> str:
    """What oslo.config says of a file, without the line that is wrong: it
    may have a password in it."""
    said = str(error)
    if isinstance(error, cfg.ConfigFileParseError):
        said = re.sub(r": ('.*'|\".*\")$", "", said, flags=re.DOTALL)
    return one_line(said)


def options(settings: type[IsSettings]) -> list[cfg.Opt]:
    """oslo.config's options for a settings class."""
    types_ = hints(settings)
    return [
        _option(field.name, types_[field.name], field.default, rule)
        for field, rule in rules(settings)
    ]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """All options, by group, for oslo-config-generator and -validator."""
    from poolmgr.drivers.fake import FakeSettings

    found: dict[str, list[cfg.Opt]] = {}
    fake: tuple[str, type[IsSettings]] = ("fake", FakeSettings)
    for group, settings in (*_GROUPS, fake):
        found.setdefault(group, []).extend(options(settings))
    return list(found.items())


def _option(name: str, hint: Any, default: Any, rule: Rule) -> cfg.Opt:
    kind = _without_none(hint)
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


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (
            kind for kind in get_args(hint) if kind is not types.NoneType
        )
    return str if get_origin(hint) is Literal else hint


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(where: str) -> str:
    group, name = where.split(".")
    return f"[{group}] {name}"
