"""Configuration that cannot be used: where, why, and what to do."""

import codecs
import os
import re
from collections.abc import Iterable, Sequence

from poolmgr.errors import ConfigError
from poolmgr.settings import Rule
from poolmgr.text import one_line
from poolmgr.written import Written, all_names

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# What oslo.config and Python say of a value, and what we say.
_WORDS = (
    (r"invalid literal for int\(\) with base 10: ", "a whole number"),
    (r"could not convert string to float: ", "a number"),
    (r"Unexpected boolean value ", "true or false"),
)


def not_text(paths: Iterable[str]) -> str | None:
    """The first of some files that is not the text that it should be.

    :returns: what is wrong with it, and what to do
    """
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            continue
        if content.startswith(_MARKS):
            return (
                f"{one_line(path)} begins with a byte order mark: save it as "
                "UTF-8 without one"
            )
        try:
            content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            return (
                f"{one_line(path)}, line {line}: not UTF-8; if it is Latin-1, "
                "convert it: iconv -f latin1 -t utf-8"
            )
    return None


def where(
    group: str, name: str, rule: Rule, files: Sequence[str], use_env: bool
) -> str:
    """Where an option stands, as people look for it.

    :param files: the files that are read
    :param use_env: whether the environment counts
    """
    variable = f"OS_{group.upper()}__{name.upper()}"
    if use_env and variable in os.environ:
        return variable
    try:
        entry = Written(files).find(*all_names(group, name, rule))
    except ConfigError:
        entry = None
    if entry is None:
        return f"[{group}] {name}"
    return f"{entry.shown} in {one_line(entry.path)}"


def why(error: Exception, secret: bool) -> str:
    """What is wrong with a value.

    :param error: what oslo.config raised
    :param secret: whether nothing of it may be shown
    """
    dollar = "(is a '$' to be '$$'?)"
    if secret:
        # What is wrong with it may be told by showing a part of it.
        return f"cannot be used {dollar}"
    said = one_line(str(error))
    if " is not valid: " not in said:
        return f"{said} {dollar}"
    said = said.partition(" is not valid: ")[2]
    for pattern, kind in _WORDS:
        if found := re.fullmatch(f"{pattern}(.*)", said):
            return f"must be {kind}, not {found[1]}"
    return said
