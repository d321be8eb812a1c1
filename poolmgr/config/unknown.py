"""Names in configuration files and the environment: unknown or old ones."""

import difflib
import logging
from collections.abc import Iterable, Iterator

from poolmgr.config.files import Entry, variable_of
from poolmgr.config.old_options import OBSOLETE, reason
from poolmgr.config.options import Configuration
from poolmgr.drivers.base import Driver
from poolmgr.plugins import Registry
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

Key = tuple[str, str]

#: Groups that other parts of Libra have options in.
_SHARED = ("DEFAULT", "global", "worker", "gearman")


def unknown_options(
    conf: Configuration, drivers: Registry[Driver]
) -> list[str]:
    """Name the options and variables that nobody reads, a line each.

    In a group that is poolmgr's alone every option has to be its own. In one
    that others have, too, only what is spelt much like one is named. Values
    are not: they may be secret.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: it cannot be loaded
    """
    known = _known(conf, drivers)
    groups = {group for group, _name in known}
    others = {name.lower() for name in drivers.names()}
    found = []
    for entry in _unknown(conf, known):
        if entry.group in groups:
            near = _nearest(entry.name, _names(known, entry.group))
            if near or entry.group not in _SHARED:
                what = f"{entry.place}: {entry.shown} is no option and has no"
                found.append(f"{what} effect{_hint(near)}")
        elif entry.group in others:
            continue
        elif near := _nearest(entry.group, groups | others):
            what = f"{one_line(entry.path)}: [{one_line(entry.group)}]"
            found.append(f"{what} is not read{_hint(f'[{near}]')}")
    found += sorted(_unknown_variables(conf.environment, known))
    return [*dict.fromkeys(found)]


def options_of_others(
    conf: Configuration, drivers: Registry[Driver]
) -> list[str]:
    """Name sections and options that seem to be other programs'.

    :raises PluginError: the driver that is configured cannot be loaded
    """
    known = _known(conf, drivers)
    groups = {group for group, _name in known}
    groups |= {name.lower() for name in drivers.names()}
    found = []
    for entry in _unknown(conf, known):
        if entry.group in _SHARED:
            found.append(entry.shown)
        elif entry.group not in groups:
            found.append(f"[{one_line(entry.group)}]")
    return [*dict.fromkeys(found)]


def warn_of_old_names(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Log every old option in the files, once: its new name, or why it has
    no effect.

    :raises PluginError: the driver that is configured cannot be loaded
    """
    driver = conf.driver_name().lower()
    known = _known(conf, drivers)
    unused = []
    for entry in conf.contents.entries():
        names = known.get(entry.key, ())
        if why := reason(entry):
            what = "has no meaning any more and is ignored"
            LOG.warning("%s %s: %s", entry.shown, what, why)
        elif not names or entry.key == names[0]:
            continue
        elif names[0][0] == "nova" and driver != "nova":
            unused.append(entry.shown)
        else:
            _tell_new_name(entry, conf.contents.find(*names), names[0])
    if unused:
        LOG.warning(
            "not used by the driver %r: %s",
            one_line(driver),
            ", ".join(dict.fromkeys(unused)),
        )


def _tell_new_name(entry: Entry, counts: Entry | None, new: Key) -> None:
    where = f"{entry.shown} in {one_line(entry.path)}"
    if entry == counts:
        LOG.info("%s is read; it is called [%s] %s today", where, *new)
    else:
        shown = counts and counts.shown
        LOG.warning("%s has no effect: %s counts", where, shown)


def _known(
    conf: Configuration, drivers: Registry[Driver]
) -> dict[Key, list[Key]]:
    """All names of options, each with all names of the same option.

    Those without effect have none.
    """
    known: dict[Key, list[Key]] = {}
    for where in OBSOLETE:
        group, name = where.split(".")
        known[group, name] = []
    for option in conf.options(drivers):
        known |= dict.fromkeys(option.names, option.names)
    return known


def _unknown(
    conf: Configuration, known: dict[Key, list[Key]]
) -> Iterator[Entry]:
    for entry in conf.contents.entries():
        if entry.key not in known and reason(entry) is None:
            yield entry


def _unknown_variables(
    environment: Iterable[str], known: Iterable[Key]
) -> Iterator[str]:
    """Variables that are meant for us."""
    right = {variable_of(*key): key for key in known}
    by_words = {_words(variable): variable for variable in right}
    groups = {group for group, _name in known}
    for variable in {*environment} - right.keys():
        near, ours = by_words.get(_words(variable), ""), False
        if not near and variable.startswith("OS_"):
            group, _, name = variable[3:].lower().partition("__")
            ours = group in groups and group not in _SHARED
            group = _nearest(group, groups)
            name = _nearest(name, _names(known, group))
            near = variable_of(group, name) if name else ""
        if near or ours:
            shown = one_line(variable)
            yield f"{shown} in the environment is not read{_hint(near)}"


def _words(variable: str) -> tuple[str, ...]:
    """What is the same whatever the case and the number of underscores."""
    return tuple(filter(None, variable.upper().split("_")))


def _names(known: Iterable[Key], group: str) -> set[str]:
    return {name for other, name in known if other == group}


def _nearest(wrong: str, known: set[str]) -> str:
    # Long names are nobody's, and take long to compare.
    near = difflib.get_close_matches(wrong[:100], sorted(known), 1, 0.8)
    return near[0] if near else ""


def _hint(near: str) -> str:
    return f"; did you mean {near}?" if near else ""
