"""What sets options: files, the environment, the command line.

The files have oslo.config's format and are read by its parser.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from oslo_config.iniparser import BaseParser, ParseError

from poolmgr.errors import ConfigError
from poolmgr.text import one_line

#: Group and name of an option, in lower case.
Key = tuple[str, str]

#: What looks like a comment behind a value, or in the place of one.
COMMENT = re.compile(r"^[#;]\s|\s[#;]")


@dataclass(frozen=True)
class Given:
    """What sets an option.

    :ivar key: group and name, in lower case
    :ivar text: the value as it stands there
    :ivar source: the file, "environment" or "command line"
    :ivar shown: the option as people write it there
    :ivar line: the number of its line, of a file
    :ivar problem: what is wrong with how it is written; empty if nothing
    """

    key: Key
    text: str
    source: str
    shown: str
    line: int = 0
    problem: str = ""

    @property
    def where(self) -> str:
        """The place, as people look for it."""
        if not self.line:
            return self.shown
        return f"{self.shown} in {one_line(self.source)}, line {self.line}"


#: What one source sets.
Layer = dict[Key, Given]


def usual_path(name: str) -> list[str]:
    """The first file or folder of a name in the usual places, if any."""
    places = ["~/.poolmgr", "~", "/etc/poolmgr", "/etc"]
    paths = [os.path.expanduser(f"{place}/{name}") for place in places]
    # It begins with "~" still for a user without a home.
    return [p for p in paths if os.path.isabs(p) and os.path.exists(p)][:1]


def read_files(paths: Iterable[str]) -> list[Layer]:
    """Read files, and the ``*.conf`` of folders, in this order.

    :raises ConfigError: one cannot be read
    """
    found = []
    for path in paths:
        try:
            found += [_Parser(file).found for file in _files_of(path)]
        except (OSError, ValueError) as error:
            where = getattr(error, "filename", None) or path
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"the configuration in {one_line(where)} cannot be read: "
                f"{one_line(why)}"
            ) from None
    return found


def _files_of(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = sorted(n for n in os.listdir(path) if fnmatch(n, "[!.]*.conf"))
    return [os.path.join(path, name) for name in names]


class _Parser(BaseParser):
    """Finds the options of a file.

    Case, and blanks around it, do not matter in the name of a section or an
    option: they did not in Libra's files. What is not UTF-8 matters in a
    value only.
    """

    def __init__(self, path: str) -> None:
        self.found: Layer = {}
        self._path = path
        self._section = ""
        text = Path(path).read_text("utf-8-sig", "surrogateescape")
        # An empty line ends the last value, too.
        self._lines = [*text.split("\n"), ""]
        try:
            self.parse(self._lines)
        except ParseError as error:
            # Without the line itself: it may have a secret in it.
            raise ConfigError(
                f"{one_line(path)}, line {error.lineno}: {error.msg}"
            ) from None

    def new_section(self, section: str) -> None:
        self._section = section.strip()

    def assignment(self, key: str, value: list[str]) -> None:
        # It is told of when the next line has been read.
        number, text = self.lineno - len(value), "\n".join(value)
        if not self._section:
            why = "there is no [section] before it, such as [worker]"
            raise ParseError(why, number, "")
        line = self._lines[number - 1].rstrip()
        is_quoted = line.endswith((f"{text}'", f'{text}"'))
        problem = ""
        if COMMENT.search(text) and not is_quoted:
            problem = (
                "has a comment after it; put that on a line of its own, or "
                "quote the value if that is a part of it"
            )
        name = self._section.lower(), key.lower()
        before = self.found.get(name)
        if before and before.text != text:
            problem = f"has another value in line {before.line}; remove one"
        shown = f"[{one_line(self._section)}] {one_line(key)}"
        given = Given(name, text, self._path, shown, number, problem)
        self.found[name] = given


def read_environment(environment: Mapping[str, str]) -> Layer:
    """Read the variables of the form ``OS_<GROUP>__<OPTION>``."""
    found: Layer = {}
    for variable, text in environment.items():
        if match := re.fullmatch("OS_([A-Z0-9_]+)__([A-Z0-9_]+)", variable):
            key, problem = (match[1].lower(), match[2].lower()), ""
            if text[:1] in ("'", '"') and text[0] == text[-1]:
                problem = "must not have quotes"
            found[key] = Given(key, text, "environment", variable, 0, problem)
    return found


def variable_of(key: Key) -> str:
    """The variable of the environment that sets an option."""
    return f"OS_{key[0]}__{key[1]}".upper()
