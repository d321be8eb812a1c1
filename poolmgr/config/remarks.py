"""What is said of a configuration besides wrong values: options without
effect, old names, and secrets that everybody can read."""

import difflib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from poolmgr.config.files import Given, Key, variable_of
from poolmgr.config.groups import by_name
from poolmgr.config.old_options import reason
from poolmgr.config.options import Configuration
from poolmgr.config.values import Option
from poolmgr.drivers.base import Driver
from poolmgr.plugins import Registry
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

#: Groups that other parts of Libra have options in.
_SHARED = ("default", "global", "worker", "gearman")


@dataclass(frozen=True)
class Ignored:
    """What is set and has no effect.

    :ivar given: where
    :ivar why: the reason
    :ivar foreign: whether it seems to be another program's, or a driver's
        that is not configured
    """

    given: Given
    why: str
    foreign: bool = False


def log_remarks(conf: Configuration, drivers: Registry[Driver]) -> None:
    """Log, once each, what has no effect, what has a new name, and files
    with secrets that everybody can read.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: the driver that is configured cannot be loaded
    """
    known = by_name(conf.groups(drivers))
    ignored = ignored_options(conf, drivers)
    idle = [each.given for each in ignored]
    for file in conf.files:
        for given in file.values():
            if given not in idle and given.key != known[given.key].names[0]:
                new = known[given.key].shown
                LOG.info("%s is deprecated: use %s", given.where, new)
    for each in ignored:
        if not each.foreign:
            LOG.warning("%s has no effect: %s", each.given.where, each.why)
    if foreign := dict.fromkeys(_name(e.given) for e in ignored if e.foreign):
        LOG.info("ignored, options of other programs: %s", ", ".join(foreign))
    for path, what in _secret_files(conf, known.values()).items():
        if said := secrecy.exposure(path, what):
            LOG.warning("%s", one_line(said))


def ignored_options(
    conf: Configuration, drivers: Registry[Driver]
) -> list[Ignored]:
    """Find the options and variables that have no effect.

    In a group that is poolmgr's alone every option has to be its own. In one
    that others have, too, one is foreign unless it is spelt much like ours.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: it cannot be loaded
    """
    known = by_name(conf.groups(drivers))
    others = [name.lower() for name in drivers.names()]
    found = []
    for file in conf.files:
        for given in file.values():
            if (option := known.get(given.key)) is None:
                found.append(_unknown(given, known, others))
                continue
            counts = next(file[name] for name in option.names if name in file)
            if counts is not given:
                found.append(Ignored(given, f"{counts.shown} counts"))
    for given in conf.environment.values():
        if given.key not in known:
            found.append(_unknown(given, known, others))
    return [*found, *_wrong_variables(conf, known)]


def _unknown(
    given: Given, known: Iterable[Key], drivers: Iterable[str]
) -> Ignored:
    if given.line and (why := reason(given.key)):
        return Ignored(given, why)
    group = given.key[0]
    groups = {group for group, _name in known}
    near_group = _nearest(group, groups.union(drivers))
    names = {name for group, name in known if group == near_group}
    near = _nearest(given.key[1], names)
    foreign = not near and (group in _SHARED or group not in groups)
    if not near:
        return Ignored(
            given, "it is no option of poolmgr or its driver", foreign
        )
    meant = f"[{near_group}] {near}"
    if not given.line:
        meant = variable_of((near_group, near))
    return Ignored(given, f"did you mean {meant}?")


def _wrong_variables(
    conf: Configuration, known: Iterable[Key]
) -> Iterator[Ignored]:
    """Variables with too few underscores, or in small letters."""
    right = {variable_of(key).replace("__", "_"): key for key in known}
    for variable in () if conf.alone else os.environ:
        key = right.get(variable.upper().replace("__", "_"))
        if key and variable != variable_of(key):
            given = Given(key, "", "environment", one_line(variable))
            yield Ignored(given, f"did you mean {variable_of(key)}?")


def _nearest(wrong: str, known: set[str]) -> str:
    # Long names are nobody's, and take long to compare.
    near = difflib.get_close_matches(wrong[:100], sorted(known), 1, 0.8)
    return near[0] if near else ""


def _name(given: Given) -> str:
    shared = given.key[0] in _SHARED
    return given.shown if shared else given.shown.partition(" ")[0]


def _secret_files(
    conf: Configuration, options: Iterable[Option]
) -> dict[str, str]:
    """The files with secrets in them, each with one of these."""
    found = {}
    for option in options:
        if not (given := conf.given(option)):
            continue
        if option.rule.secret and given.line and given.text:
            found[given.source] = option.shown
        elif option.shown == "[gearman] ssl_key":
            found[given.text] = option.shown
    return found
