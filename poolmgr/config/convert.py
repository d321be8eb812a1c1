"""From an old configuration to a new one: the same effect by new names."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from poolmgr.config.files import Entry
from poolmgr.config.old_options import reason
from poolmgr.config.options import Configuration
from poolmgr.config.values import Option, as_text, options_of
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.plugins import Registry
from poolmgr.text import one_line

#: What an option means now, where that is not quite what it meant.
MEANINGS = {
    "mgm.threads": (
        "only builds are counted; other jobs have room of their own, see "
        "[worker] short_jobs"
    ),
    "gearman.reconnect_sleep": (
        "the longest pause between two attempts; the first are shorter"
    ),
}


@dataclass(frozen=True)
class Converted:
    """An option of the new configuration.

    :ivar option: which
    :ivar value: what the configuration makes of it
    :ivar old: where it comes from
    """

    option: Option
    value: object
    old: Entry

    def lines(self, secrets: bool) -> Iterator[str]:
        """It, after comments that say what changed."""
        name, text = self.option.name, as_text(self.value)
        secret = self.option.rule.secret
        old = ".".join(self.old.key)
        if self.old.key != self.option.names[0]:
            yield from _comment(f"was {self.old.shown}")
        if not secret and text != self.old.text:
            yield from _comment(f"was written {one_line(self.old.text)!r}")
        if old in MEANINGS:
            yield from _comment(MEANINGS[old])
        if name == "auth_url" and "/v2.0" in text:
            why = "Keystone has no version 2.0 any more; /v3 is used"
            yield from _comment(why)
        if secret and not secrets:
            yield f"# {name} = (a secret: not shown)"
        else:
            yield f"{name} = {text}"


@dataclass(frozen=True)
class Conversion:
    """What became of a configuration file.

    :ivar path: that file
    :ivar options: what the new one has
    :ivar dropped: options that have no effect, each with the reason
    """

    path: str
    options: list[Converted]
    dropped: list[tuple[str, str]]

    @property
    def secrets(self) -> list[str]:
        """The options that are secret."""
        options = [each.option for each in self.options]
        return [each.shown for each in options if each.rule.secret]

    def text(self, secrets: bool) -> str:
        """The new configuration file.

        :param secrets: whether it has the secrets in it; else there is a
            comment in the place of each
        """
        return "\n".join(self._lines(secrets)) + "\n"

    def _lines(self, secrets: bool) -> Iterator[str]:
        yield from _comment(f"Converted from {one_line(self.path)}.")
        group = None
        for each in self.options:
            if each.option.group != group:
                group = each.option.group
                yield from ("", f"[{group}]")
            yield from each.lines(secrets)
        if self.dropped:
            yield ""
            yield from _comment("These have no effect and were left out.")
            for name, reason in self.dropped:
                yield from _comment(f"{name}: {reason}")


def converted(path: str, drivers: Registry[Driver]) -> Conversion:
    """Convert a configuration file, as a rule ``libra.cfg``.

    :param path: the file
    :param drivers: the drivers that are installed
    :raises ConfigError: it cannot be read, a value in it cannot be used, or
        there is nothing in it that means anything to poolmgr
    :raises PluginError: the driver that it names cannot be loaded
    """
    conf = Configuration([path], alone=True)
    conf.require_values(drivers)
    options, doubled = [], set()
    for group, settings in conf.groups(drivers):
        values = conf.group(group, settings)
        for option in options_of(group, settings):
            if entry := conf.contents.find(*option.names):
                value = getattr(values, option.name)
                options.append(Converted(option, value, entry))
                doubled.update(option.names)
    if not options:
        raise ConfigError(
            f"{one_line(path)} has no option of the Pool Manager, as those "
            "of [mgm]: nothing to convert"
        )
    return Conversion(path, options, _dropped(conf, drivers, options, doubled))


def _dropped(
    conf: Configuration,
    drivers: Registry[Driver],
    options: "list[Converted]",
    doubled: set[tuple[str, str]],
) -> list[tuple[str, str]]:
    """What is left out of the new file, each with the reason."""
    counts = {option.old.key for option in options}
    others = {name.lower() for name in drivers.names()} - {"nova"}
    dropped: dict[str, list[str]] = {}
    for entry in conf.contents.entries():
        if entry.key in counts:
            continue
        if entry.key in doubled:
            why = "its new name is there, too, and counts"
        elif entry.group in others:
            why = "of a driver that [poolmgr] driver does not name"
        else:
            why = reason(entry) or "not an option of poolmgr"
        dropped.setdefault(why, []).append(entry.shown)
    return [(", ".join(those), why) for why, those in dropped.items()]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        79,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
