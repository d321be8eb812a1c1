"""Warnings about a configuration: options without effect, deprecated names,
and secrets that everybody can read."""

import difflib
import logging
import os
from collections.abc import Collection

from poolmgr.config.configuration import Configuration
from poolmgr.config.options import by_name, names_of, options_in
from poolmgr.config.sources import Given, Key, variable_of
from poolmgr.text import one_line, secrecy

LOG = logging.getLogger(__name__)

#: Groups that other programs of Libra have options in, too.
_SHARED = ("default", "global", "worker", "gearman")
#: Why an option has no effect.
_UNUSED = "poolmgr does not use it"
FOREIGN = f"{_UNUSED}, another program may"


def log_remarks(conf: Configuration) -> None:
    """Log options without effect, deprecated names, and files with secrets
    that everybody can read.

    :raises ConfigError: the configured driver is not installed
    :raises PluginError: the configured driver cannot be loaded
    """
    secrets = {}  # files, and the option that is in each
    for option in options_in(conf.groups()):
        if (given := conf.given(option)) is None:
            continue
        if given.line and given.key != (option.group, option.name):
            LOG.info("%s is deprecated: use %s", given.where, option.shown)
        if given.line and given.text and option.secret:
            secrets[given.source] = option.shown
        if option.shown == "[gearman] ssl_key":
            secrets[given.text] = option.shown
    ignored = ignored_options(conf)
    for given, why in ignored.items():
        if why != FOREIGN:
            LOG.warning("%s has no effect: %s", given.where, why)
    if foreign := [g.shown for g, why in ignored.items() if why == FOREIGN]:
        LOG.info("ignored options of other programs: %s", ", ".join(foreign))
    for path, what in secrets.items():
        if problem := secrecy.exposure(path, what):
            LOG.warning("%s", one_line(problem))


def ignored_options(conf: Configuration) -> dict[Given, str]:
    """Return the options and variables without effect, with the reasons.

    In groups that other programs share, an unknown option counts as theirs
    unless its name resembles one of poolmgr's.

    :raises ConfigError: the configured driver is not installed
    :raises PluginError: the configured driver cannot be loaded
    """
    known = by_name(conf.groups())
    drivers = [name.lower() for name in conf.drivers.names()]
    found = {}
    for source in (*conf.files, conf.environment):
        for given in source.values():
            if (option := known.get(given.key)) is None:
                found[given] = _reason(given, known, drivers)
                continue
            first = next(n for n in names_of(option) if n in source)
            if first != given.key:
                found[given] = f"{source[first].shown} counts"
    # Variables with a single underscore, or in lower case.
    right = {variable_of(key).replace("__", "_"): key for key in known}
    for variable in () if conf.alone else os.environ:
        key = right.get(variable.upper().replace("__", "_"))
        if key and variable != (correct := variable_of(key)):
            given = Given(key, "", "environment", one_line(variable))
            found[given] = f"did you mean {correct}?"
    return found


def _reason(
    given: Given, known: Collection[Key], drivers: Collection[str]
) -> str:
    """Return why an unknown option has no effect."""
    group = given.key[0]
    groups = {each for each, _name in known}
    if group in drivers and group not in groups:
        return FOREIGN
    spelled = [f"[{group}] {name}" for group, name in known]
    if not given.line:
        spelled = [variable_of(key) for key in known]
    # Cut, because comparing long words takes long.
    word = given.shown[:100]
    if near := difflib.get_close_matches(word, spelled, 1, 0.9):
        return f"did you mean {near[0]}?"
    return FOREIGN if group in _SHARED or group not in groups else _UNUSED
