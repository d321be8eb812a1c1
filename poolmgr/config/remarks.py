"""What is said of a configuration besides wrong values: options without
effect, old names, and secrets that everybody can read."""

import difflib
import logging
import os
from collections.abc import Iterable

from poolmgr.config.configuration import Configuration
from poolmgr.config.options import by_name, names_of, options_in
from poolmgr.config.sources import Given, Key, variable_of
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

#: Groups that other parts of Libra have options in.
_SHARED = ("default", "global", "worker", "gearman")
#: Why an option has no effect; in groups of others, it may be theirs.
_UNUSED = "poolmgr does not use it"
FOREIGN = f"{_UNUSED}, another program may"


def log_remarks(conf: Configuration) -> None:
    """Log, once each, what has no effect, what has a new name, and files
    with secrets that everybody can read.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: the driver that is configured cannot be loaded
    """
    for option in options_in(conf.groups()):
        given = conf.given(option)
        if given and given.line and given.key != names_of(option)[0]:
            new = option.shown
            LOG.info("%s is deprecated: use %s", given.where, new)
    ignored = ignored_options(conf)
    for given, why in ignored.items():
        if why != FOREIGN:
            LOG.warning("%s has no effect: %s", given.where, why)
    if foreign := [g.shown for g, why in ignored.items() if why == FOREIGN]:
        LOG.info("ignored options of other programs: %s", ", ".join(foreign))
    for path, what in _files_with_secrets(conf).items():
        if said := secrecy.exposure(path, what):
            LOG.warning("%s", one_line(said))


def _files_with_secrets(conf: Configuration) -> dict[str, str]:
    """The files that have a secret, and the option that it is for."""
    found = {}
    for option in options_in(conf.groups()):
        given = conf.given(option)
        if given and given.line and given.text and option.secret:
            found[given.source] = option.shown
        if given and option.shown == "[gearman] ssl_key":
            found[given.text] = option.shown
    return found


def ignored_options(conf: Configuration) -> dict[Given, str]:
    """Find the options and variables that have no effect, and why.

    In a group that is poolmgr's alone every option has to be its own. In one
    that others have, too, one is foreign unless it is spelt much like ours.

    :raises ConfigError: there is no driver of the name that is configured
    :raises PluginError: it cannot be loaded
    """
    known = by_name(conf.groups())
    drivers = {name.lower() for name in conf.drivers.names()}
    found = {}
    for source in (*conf.files, conf.environment):
        for given in source.values():
            if (option := known.get(given.key)) is None:
                found[given] = _reason(given, known, drivers)
                continue
            counts = next(n for n in names_of(option) if n in source)
            if counts != given.key:
                found[given] = f"{source[counts].shown} counts"
    # Variables with too few underscores, or in small letters.
    right = {variable_of(key).replace("__", "_"): key for key in known}
    for variable in () if conf.alone else os.environ:
        key = right.get(variable.upper().replace("__", "_"))
        if key and variable != (meant := variable_of(key)):
            given = Given(key, "", "environment", one_line(variable))
            found[given] = f"did you mean {meant}?"
    return found


def _reason(given: Given, known: Iterable[Key], drivers: set[str]) -> str:
    """Why an option that is not known has no effect."""
    group, name = given.key
    groups = {group for group, _name in known}
    near_group = _nearest(group, groups | drivers)
    near = _nearest(name, {name for g, name in known if g == near_group})
    if near and given.line:
        return f"did you mean [{near_group}] {near}?"
    if near:
        return f"did you mean {variable_of((near_group, near))}?"
    is_shared = group in _SHARED or group not in groups
    return FOREIGN if is_shared else _UNUSED


def _nearest(wrong: str, known: set[str]) -> str:
    # Long names are nobody's, and take long to compare.
    near = difflib.get_close_matches(wrong[:100], sorted(known), 1, 0.8)
    return near[0] if near else ""
