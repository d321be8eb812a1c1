"""Options and variables that somebody wrote and nobody reads."""

import difflib
from collections.abc import Iterator

from poolmgr.config.files import Written, all_names, variable_of
from poolmgr.config.old_options import OBSOLETE, reason
from poolmgr.config.options import Configuration
from poolmgr.drivers.base import Driver
from poolmgr.plugins import Registry
from poolmgr.settings import rules
from poolmgr.text import one_line

#: Groups that other parts of Libra have options in.
_SHARED = ("DEFAULT", "global", "worker", "gearman")


def misspelt(conf: Configuration, drivers: Registry[Driver]) -> list[str]:
    """What is wrong with names in the configuration files and in the
    environment, a line each.

    In a group that is poolmgr's alone every option has to be one of its own.
    In one that others have, too, only what is spelt much like one is said.

    :raises ConfigError: a file cannot be read
    :raises PluginError: the driver that is configured cannot be loaded
    """
    known = _known(conf, drivers)
    groups = known.keys() | {name.lower() for name in drivers.names()}
    said = [
        *_said(conf.written, known, groups),
        *sorted(_said_of(conf.variables(), known)),
    ]
    return [*dict.fromkeys(said)]


def unread(conf: Configuration, drivers: Registry[Driver]) -> list[str]:
    """Sections and options that seem to be other programs', as people write
    them.

    :raises PluginError: the driver that is configured cannot be loaded
    """
    known = _known(conf, drivers)
    groups = known.keys() | {name.lower() for name in drivers.names()}
    found = []
    for entry in conf.written.entries():
        if entry.group not in {*groups, *_SHARED}:
            found.append(f"[{one_line(entry.group)}]")
        elif (
            entry.group in _SHARED
            and entry.name not in known.get(entry.group, ())
            and reason(entry) is None
        ):
            found.append(entry.shown)
    return [*dict.fromkeys(found)]


def _known(
    conf: Configuration, drivers: Registry[Driver]
) -> dict[str, set[str]]:
    """The names of all options, old ones included, by their groups."""
    known: dict[str, set[str]] = {}
    for group, settings in conf.groups(drivers):
        for field, rule in rules(settings):
            for old_group, name in all_names(group, field.name, rule):
                known.setdefault(old_group, set()).add(name)
    for where in OBSOLETE:
        group, name = where.split(".")
        known.setdefault(group, set()).add(name)
    return known


def _said(
    written: Written, known: dict[str, set[str]], groups: set[str]
) -> Iterator[str]:
    for entry in written.entries():
        if entry.group not in groups:
            if near := _near(entry.group, groups):
                shown = one_line(entry.group)
                yield (
                    f"{one_line(entry.path)}: [{shown}] is not read; did you "
                    f"mean [{near}]?"
                )
        elif (
            entry.group in known
            and entry.name not in known[entry.group]
            and reason(entry) is None
        ):
            near = _near(entry.name, known[entry.group])
            if near or entry.group not in _SHARED:
                hint = f"; did you mean {near}?" if near else ""
                yield (
                    f"{one_line(entry.path)}: {entry.shown} is no option and "
                    f"has no effect{hint}"
                )


def _said_of(
    variables: list[str], known: dict[str, set[str]]
) -> Iterator[str]:
    """Variables that are meant for us."""
    right = {
        variable_of(group, name): (group, name)
        for group, names in known.items()
        for name in names
    }
    by_words = {_words(variable): variable for variable in right}
    for variable in {*variables} - right.keys():
        near, ours = by_words.get(_words(variable), ""), False
        if not near and variable.startswith("OS_"):
            group, _, name = variable[3:].lower().partition("__")
            ours = group in known and group not in _SHARED
            group = _near(group, {*known})
            name = _near(name, known.get(group, set()))
            near = variable_of(group, name) if name else ""
        if near or ours:
            hint = f"; did you mean {near}?" if near else ""
            yield f"{one_line(variable)} in the environment is not read{hint}"


def _words(variable: str) -> tuple[str, ...]:
    """What is the same whatever the case and the number of underscores."""
    return tuple(filter(None, variable.upper().split("_")))


def _near(wrong: str, known: set[str]) -> str:
    # Long names are nobody's, and take long to compare.
    near = difflib.get_close_matches(wrong[:100], sorted(known), 1, 0.8)
    return near[0] if near else ""
