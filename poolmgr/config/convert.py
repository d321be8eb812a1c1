"""From an old configuration to a new one: the same effect by new names."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from poolmgr.config.files import Entry, all_names
from poolmgr.config.old_options import reason
from poolmgr.config.options import Configuration
from poolmgr.config.values import as_text
from poolmgr.drivers.base import Driver
from poolmgr.errors import ConfigError
from poolmgr.plugins import Registry
from poolmgr.rules import Rule, rules
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
class Option:
    """An option of the new configuration.

    :ivar group: its group
    :ivar name: its name
    :ivar value: what the configuration makes of it
    :ivar rule: what is known of it
    :ivar old: where it comes from
    """

    group: str
    name: str
    value: object
    rule: Rule
    old: Entry

    @property
    def text(self) -> str:
        """The value as it is written into the new file."""
        return as_text(self.value)

    def comments(self) -> Iterator[str]:
        """What changed, a sentence each."""
        old = f"{self.old.group}.{self.old.name}"
        if old != f"{self.group}.{self.name}":
            yield f"was {self.old.shown}"
        if not self.rule.secret and as_text(self.value) != self.old.text:
            yield f"was written {one_line(self.old.text)!r}"
        if old in MEANINGS:
            yield MEANINGS[old]
        if self.name == "auth_url" and "/v2.0" in self.text:
            yield "Keystone has no version 2.0 any more; /v3 is used"


@dataclass(frozen=True)
class Conversion:
    """What became of a configuration file.

    :ivar path: that file
    :ivar options: what the new one has
    :ivar dropped: options that have no effect, each with the reason
    """

    path: str
    options: list[Option]
    dropped: list[tuple[str, str]]

    @property
    def secrets(self) -> list[str]:
        """The options that are secret."""
        return [
            f"[{option.group}] {option.name}"
            for option in self.options
            if option.rule.secret
        ]

    def text(self, secrets: bool) -> str:
        """The new configuration file.

        :param secrets: whether it has the secrets in it; else there is a
            comment in the place of each
        """
        return "\n".join(self._lines(secrets)) + "\n"

    def _lines(self, secrets: bool) -> Iterator[str]:
        yield from _comment(f"Converted from {one_line(self.path)}.")
        group = None
        for option in self.options:
            if option.group != group:
                group = option.group
                yield from ("", f"[{group}]")
            for comment in option.comments():
                yield from _comment(comment)
            if option.rule.secret and not secrets:
                yield f"# {option.name} = (a secret: not shown)"
            else:
                yield f"{option.name} = {option.text}"
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
    options = []
    doubled = set()  # names of options that have another name, too
    for group, settings in conf.groups(drivers):
        values = conf.group(group, settings)
        for field, rule in rules(settings):
            names = all_names(group, field.name, rule)
            if entry := conf.contents.find(*names):
                value = getattr(values, field.name)
                options.append(Option(group, field.name, value, rule, entry))
                doubled.update(names)
    if not options:
        raise ConfigError(
            f"{one_line(path)} has no option of the Pool Manager, as those "
            "of [mgm]: nothing to convert"
        )
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
    return Conversion(
        path,
        options,
        [(", ".join(those), why) for why, those in dropped.items()],
    )


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        79,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
