"""``poolmgr config``, ``check`` and ``plugin``: options and plugins."""

import argparse
import os
from collections.abc import Iterator
from contextlib import suppress

from poolmgr.actions.base import action_plugins
from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Row, Table
from poolmgr.cli.commands import command_name
from poolmgr.cli.usage import UsageError
from poolmgr.cloud import open_cloud
from poolmgr.config.configuration import Configuration
from poolmgr.config.options import format_value
from poolmgr.config.remarks import ignored_options, log_remarks
from poolmgr.drivers.verbs import driver_plugins
from poolmgr.errors import ConfigError
from poolmgr.plugins import Plugin
from poolmgr.text import one_line

_NOT_SHOWN = "(a secret: not shown)"


class ConfigConvert(PoolmgrCommand):
    """Convert a configuration file, such as libra.cfg, to the new names.

    The new file has the same effect. Its comments give the old name of every
    option, and say which had no effect and why.

    On standard output a comment replaces each secret. With --output secrets
    are written, to a file that only its owner can read.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the two files."""
        add, output = parser.add_argument, "standard output, without secrets"
        add("file", metavar="FILE", help="configuration file to convert")
        new = f"file to write, which must not exist (default: {output})"
        add("--output", metavar="NEW", help=new)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Convert the file."""
        new = parsed_args.output
        lines = convert(parsed_args.file, secrets=new is not None)
        text = "\n".join([*lines, ""])
        if new is None:
            self.app.stdout.write(text)
            if _NOT_SHOWN in text:
                self.say("--output NEW writes a file with the secrets in it")
        else:
            _write(new, text)
            self.say(
                f"{one_line(new)} is written: give it to the worker's user"
            )
        return 0


def convert(path: str, secrets: bool = True) -> list[str]:
    """Convert a configuration file, such as ``libra.cfg``.

    :param path: the file
    :param secrets: whether to include secrets; otherwise a comment replaces
        each
    :returns: the lines of the new file
    :raises ConfigError: the file cannot be read, has an invalid value, or has
        no options of poolmgr
    :raises PluginError: the driver that the file names cannot be loaded
    """
    conf, lines = Configuration([path], alone=True), []
    for option, value, entry in conf.values():
        if entry is None:
            continue
        section = f"[{option.group}]"
        if section not in lines:
            lines += ["", section]
        if entry.key != (option.group, option.name):
            lines.append(f"# was {entry.shown}")
        if option.secret and not secrets:
            lines.append(f"# {option.name} = {_NOT_SHOWN}")
        else:
            lines.append(f"{option.name} = {format_value(value)}")
    if not lines:
        raise ConfigError(
            f"{one_line(path)} has no options of the Pool Manager, such as "
            "those in [mgm]; nothing to convert"
        )
    if dropped := ignored_options(conf):
        lines += ["", "# These have no effect and were left out."]
    lines += [f"# {entry.shown}: {why}" for entry, why in dropped.items()]
    return [f"# Converted from {one_line(path)}.", *lines]


def _write(path: str, text: str) -> None:
    """Write a new file that only its owner can read."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(
            f"--output {one_line(path)!r} cannot be written: {error.strerror}"
        ) from None


class ConfigShow(PoolmgrLister):
    """Show the value of every option, and where it is set.

    Options are set by configuration files, the environment, and options before
    the command. Secrets are not shown.
    """

    columns = ("Group", "Option", "Value", "Set by")
    spare = ("Set by",)
    empty = "no option is set"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the filters."""
        add, groups = parser.add_argument, "only these groups, such as worker"
        add("group", metavar="GROUP", nargs="*", help=groups)
        add("--set", action="store_true", help="only options that are set")

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """List the options."""
        given = parsed_args
        rows = [*self._rows(given.formatter == "table")]
        log_remarks(self.configuration)
        known = sorted({row[0] for row in rows})
        for unknown in {*given.group}.difference(known):
            absent = f"there is no group {one_line(unknown)!r}"
            raise UsageError(f"{absent}; choose from {', '.join(known)}")
        groups, rest = given.group or known, "default" if given.set else ""
        shown = [r for r in rows if r[0] in groups and r[3] != rest]
        return self.columns, shown

    def _rows(self, in_table: bool) -> Iterator[Row]:
        """Return a row for each option.

        :param in_table: whether to show values as a file has them
        """
        for option, value, entry in self.configuration.values():
            if option.secret and value:
                value = "***"
            elif in_table:
                value = format_value(value)
            elif isinstance(value, tuple):
                value = list(value)
            key, origin = (option.group, option.name), "default"
            if entry:
                origin = entry.source
                if entry.key != key:
                    origin += f", {entry.shown}"
            yield *key, value, origin


class Check(PoolmgrLister):
    """Check the driver's settings against the cloud.

    Shows what the cloud has for each. The exit code is 1 if any is wrong; a
    worker does not start then.
    """

    columns = ("Setting", "Value", "Found", "State", "Problem")
    spare = ("Found",)
    empty = ""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Check the settings."""
        conf, rows = self.configuration, []
        require_usable(conf)
        timeout = conf.pool().short_timeout
        with (
            self.progress(lambda: "asking the cloud"),
            open_cloud(conf.make_driver()) as cloud,
        ):
            for each in cloud.check(timeout):
                state = "wrong" if each.problem else "ok"
                found, problem = each.found, each.problem or ""
                rows.append((each.setting, each.value, found, state, problem))
                self.failed |= bool(problem)
        if not rows:
            name = one_line(conf.driver_name())
            self.app.LOG.warning("the driver %r has nothing to check", name)
        return self.columns, rows


def require_usable(conf: Configuration) -> None:
    """Check all values and plugins, and log warnings.

    ``check`` and the start of a worker share these checks.

    :raises ConfigError: a value is invalid
    :raises PluginError: the driver cannot be loaded, or two actions share a
        name
    """
    with suppress(ConfigError):  # raised below, with all other problems
        log_remarks(conf)
    conf.read_all()
    conf.gearman().connection_options()
    action_plugins().load_all()


class PluginList(PoolmgrLister):
    """List the installed actions and drivers, and try to load them."""

    columns = ("Kind", "Name", "Package", "State", "Error")
    spare = ("Package",)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Load all plugins."""
        plugins = [*action_plugins().inspect(), *driver_plugins().inspect()]
        return self.columns, [self._row(each) for each in plugins]

    def _row(self, plugin: Plugin) -> Row:
        state, error = plugin.state, plugin.error
        hides = self.app.command_manager.hides
        if plugin.kind == "action" and state == "ok" and hides(plugin.name):
            state, command = "hidden", command_name(plugin.name)
            error = f"'poolmgr {command}' is another command; jobs run it"
        return plugin.kind, plugin.name, plugin.package, state, error
