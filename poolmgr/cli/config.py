"""``poolmgr config``, ``check`` and ``plugin``: what is set, and what is
installed."""

import argparse
import os
from collections.abc import Iterator
from contextlib import suppress

from poolmgr.cli.base import PoolmgrCommand, PoolmgrLister, Row, Table
from poolmgr.cli.commands import command_name
from poolmgr.cli.usage import UsageError
from poolmgr.config.convert import converted
from poolmgr.config.job_servers import connection_options
from poolmgr.config.options import Configuration
from poolmgr.config.remarks import log_remarks
from poolmgr.config.values import as_text, options_of
from poolmgr.errors import ConfigError
from poolmgr.jobs.registries import action_plugins, driver_plugins
from poolmgr.plugins import Plugin
from poolmgr.text import one_line
from poolmgr.worker.service import load_actions


class ConfigConvert(PoolmgrCommand):
    """Convert a configuration file (such as libra.cfg) to today's names.

    The new file has the same effect. Its comments give the old name of every
    option, and say which had no effect and why.

    On standard output a comment replaces each secret. With --output secrets
    are written, to a file that only its owner can read.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which file, and where to."""
        parser.add_argument(
            "file",
            metavar="FILE",
            help="the configuration file to convert",
        )
        parser.add_argument(
            "--output",
            metavar="NEW",
            help="the file to write, which must not exist (default: "
            "standard output, without secrets)",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Convert it."""
        new, drivers = parsed_args.output, driver_plugins()
        done = converted(parsed_args.file, drivers, secrets=new is not None)
        text, secrets = "\n".join([*done.lines, ""]), ", ".join(done.secrets)
        if new is None:
            self.app.stdout.write(text)
            if secrets:
                self.say(
                    f"{secrets}: not shown; --output NEW writes a file with it"
                )
            return 0
        _write(new, text)
        self.say(f"{one_line(new)} is written (mode 0600)")
        if secrets:
            self.say(f"{secrets} is in it: give it to the worker's user")
        return 0


class ConfigShow(PoolmgrLister):
    """Show the value of every option, and where it is set.

    Options are set by configuration files, the environment, and options before
    the command. Secrets are not shown.
    """

    columns = ("Group", "Option", "Value", "Set by")
    spare = ("Set by",)
    empty = "no option is set"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which options."""
        add, groups = parser.add_argument, "only these groups, such as worker"
        add("group", metavar="GROUP", nargs="*", help=groups)
        add("--set", action="store_true", help="only options that are set")

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """List them."""
        self.configuration.require_values(driver_plugins())
        log_remarks(self.configuration, driver_plugins())
        rows = list(self._rows(parsed_args.formatter == "table"))
        groups = {str(group) for group, *_rest in rows}
        for wanted in parsed_args.group:
            if wanted not in groups:
                raise UsageError(
                    f"there is no group {one_line(wanted)!r}; choose of: "
                    f"{', '.join(sorted(groups))}"
                )
        if parsed_args.group:
            rows = [row for row in rows if row[0] in parsed_args.group]
        if parsed_args.set:
            rows = [row for row in rows if row[3] != "default"]
        return self.columns, rows

    def _rows(self, as_texts: bool) -> Iterator[Row]:
        """A row for each option.

        :param as_texts: whether a value is shown as a file has it
        """
        conf = self.configuration
        for group, settings in conf.groups(driver_plugins()):
            values = conf.group(group, settings)
            for option in options_of(group, settings):
                value = getattr(values, option.name)
                if option.rule.secret and value:
                    value = "***"
                if as_texts:
                    value = as_text(value)
                elif isinstance(value, tuple):
                    value = list(value)
                given = conf.given(option)
                origin = one_line(given.source) if given else "default"
                if given and given.line and given.key != option.names[0]:
                    origin += f", {given.shown}"
                yield group, option.name, value, origin


class Check(PoolmgrLister):
    """Check the driver's settings against the cloud.

    Shows what the cloud has for each. The exit code is 1 if any is wrong; a
    worker does not start then.
    """

    columns = ("Setting", "Value", "Found", "State", "Problem")
    spare = ("Found",)
    empty = ""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Ask the cloud."""
        conf = self.configuration
        require_usable(conf)
        longest = conf.pool().short_timeout
        with self.open_cloud() as cloud:
            found = cloud.check(longest)
        if not found:
            name = one_line(conf.driver_name())
            self.app.LOG.warning("the driver %r has nothing to check", name)
        self.failed = any(finding.problem for finding in found)
        return (
            self.columns,
            [
                (
                    finding.setting,
                    one_line(finding.value),
                    one_line(finding.found),
                    "wrong" if finding.problem else "ok",
                    one_line(finding.problem or ""),
                )
                for finding in found
            ],
        )


def require_usable(conf: Configuration) -> None:
    """Go on only with values that can be used, and plugins that fit together;
    log what has no effect, and secrets that everybody can read.

    ``check`` passes when a worker would start.

    :raises ConfigError: in one line, which value is wrong
    :raises PluginError: the driver cannot be loaded, or two actions share a
        name
    """
    drivers = driver_plugins()
    with suppress(ConfigError):  # it is told below, with all others
        log_remarks(conf, drivers)
    conf.require_values(drivers)
    connection_options(conf.gearman())
    load_actions(action_plugins())


class PluginList(PoolmgrLister):
    """List the installed actions and drivers, and try to load them."""

    columns = ("Kind", "Name", "Package", "State", "Error")
    spare = ("Package",)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Load every plugin."""
        plugins = [*action_plugins().inspect(), *driver_plugins().inspect()]
        return (
            self.columns,
            [(p.kind, p.name, p.package, *self._state(p)) for p in plugins],
        )

    def _state(self, plugin: Plugin) -> tuple[str, str]:
        hides = self.app.command_manager.hides
        if plugin.kind != "action" or plugin.state != "ok":
            return plugin.state, one_line(plugin.error)
        if not hides(plugin.name):
            return "ok", ""
        return "hidden", (
            f"'poolmgr {command_name(plugin.name)}' is another command; jobs "
            "and 'poolmgr submit' run the action"
        )


def _write(path: str, text: str) -> None:
    """Write a new file that only its owner can read."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "w") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--output {one_line(path)!r} cannot be written: {one_line(why)}"
        ) from None
