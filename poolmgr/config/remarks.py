"""Warnings about a configuration: options without effect, deprecated names,
and secrets that everybody can read."""

import difflib
import logging
import os
from collections.abc import Collection

from poolmgr.config.configuration import Configuration
from poolmgr.config.options import keys_of, options_by_key, options_in
from poolmgr.config.sources import Entry, Key, variable_of
from poolmgr.text import secrecy

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
        if (entry := conf.entry(option)) is None:
            continue
        if entry.key != (option.group, option.name):
            LOG.info("%s is deprecated: use %s", entry.where, option.shown)
        # Only in a file has an entry a line.
        if entry.line and entry.text and option.secret:
            secrets[entry.source] = option.shown
        if option.shown == "[gearman] ssl_key":
            secrets[entry.text] = option.shown
    _log_ignored_options(conf)
    for path, what in secrets.items():
        if problem := secrecy.exposure(path, what):
            LOG.warning("%s", problem)


def _log_ignored_options(conf: Configuration) -> None:
    ignored = ignored_options(conf)
    for entry, why in ignored.items():
        if why != FOREIGN:
            LOG.warning("%s has no effect: %s", entry.where, why)
    if foreign := [g.shown for g, why in ignored.items() if why == FOREIGN]:
        LOG.info("ignored options of other programs: %s", ", ".join(foreign))


def ignored_options(conf: Configuration) -> dict[Entry, str]:
    """Return the options and variables without effect, with the reasons.

    In groups that other programs share, an unknown option counts as theirs
    unless its name resembles one of poolmgr's.

    :raises ConfigError: the configured driver is not installed
    :raises PluginError: the configured driver cannot be loaded
    """
    known = options_by_key(conf.groups())
    drivers = [name.lower() for name in conf.drivers.names()]
    found = {}
    for source in (*conf.files, conf.environment):
        for entry in source.values():
            if (option := known.get(entry.key)) is None:
                found[entry] = _reason(entry, known, drivers)
                continue
            first = next(n for n in keys_of(option) if n in source)
            if first != entry.key:
                found[entry] = f"{source[first].shown} counts"
    return found if conf.alone else found | _unknown_variables(known)


def _unknown_variables(known: Collection[Key]) -> dict[Entry, str]:
    """Return variables with a single underscore, or in lower case."""
    found = {}
    right = {variable_of(key).replace("__", "_"): key for key in known}
    for variable in os.environ:
        key = right.get(variable.upper().replace("__", "_"))
        if key and variable != (correct := variable_of(key)):
            entry = Entry(key, "", "environment", variable)
            found[entry] = f"did you mean {correct}?"
    return found


def _reason(
    entry: Entry, known: Collection[Key], drivers: Collection[str]
) -> str:
    """Return why an unknown option has no effect."""
    group = entry.key[0]
    groups = {each for each, _name in known}
    # The group of an installed driver that is not in use.
    if group in drivers and group not in groups:
        return FOREIGN
    spelled = [f"[{group}] {name}" for group, name in known]
    if not entry.line:
        spelled = [variable_of(key) for key in known]
    # Cut, because comparing long words takes long.
    word = entry.shown[:100]
    if near := difflib.get_close_matches(word, spelled, 1, 0.9):
        return f"did you mean {near[0]}?"
    return FOREIGN if group in _SHARED or group not in groups else _UNUSED
