"""From an old configuration to a new one: the same effect by new names."""

from dataclasses import dataclass, field

from poolmgr.config.options import Configuration
from poolmgr.config.remarks import Ignored, ignored_options
from poolmgr.config.values import as_text, options_of
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.plugins import Registry
from poolmgr.settings.rules import IsSettings
from poolmgr.text import one_line


@dataclass(frozen=True)
class Conversion:
    """What became of a configuration file.

    :ivar lines: the new file
    :ivar secrets: the options in it that are secret
    :ivar dropped: what has no effect and was left out
    """

    lines: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    dropped: list[Ignored] = field(default_factory=list)


def converted(
    path: str, drivers: Registry[Driver], secrets: bool = True
) -> Conversion:
    """Convert a configuration file, as a rule ``libra.cfg``.

    :param path: the file
    :param drivers: the drivers that are installed
    :param secrets: whether the new file has the secrets in it; else there is
        a comment in the place of each
    :raises ConfigError: it cannot be read, a value in it cannot be used, or
        there is nothing in it that means anything to poolmgr
    :raises PluginError: the driver that it names cannot be loaded
    """
    conf = Configuration([path], alone=True)
    conf.require_values(drivers)
    done = Conversion(dropped=ignored_options(conf, drivers))
    for group, settings in conf.groups(drivers):
        _convert(conf, group, settings, secrets, done)
    lines = done.lines
    if not lines:
        raise ConfigError(
            f"{one_line(path)} has no option of the Pool Manager, as those "
            "of [mgm]: nothing to convert"
        )
    lines.insert(0, f"# Converted from {one_line(path)}.")
    if done.dropped:
        lines += ["", "# These have no effect and were left out."]
    lines += [f"# {each.given.shown}: {each.why}" for each in done.dropped]
    return done


def _convert(
    conf: Configuration,
    group: str,
    settings: type[IsSettings],
    secrets: bool,
    done: Conversion,
) -> None:
    """Add the options of a group that the file has."""
    lines, values = done.lines, conf.group(group, settings)
    for option in options_of(group, settings):
        if (given := conf.given(option)) is None:
            continue
        if f"[{group}]" not in lines:
            lines += ["", f"[{group}]"]
        if given.key != (group, option.name):
            lines.append(f"# was {given.shown}")
        line = f"{option.name} = {as_text(getattr(values, option.name))}"
        if option.rule.secret:
            done.secrets.append(option.shown)
            if not secrets:
                line = f"# {option.name} = (a secret: not shown)"
        lines.append(line)
