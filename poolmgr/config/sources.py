"""Sources of options: files and the environment.

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

#: A comment after a value, or in place of one.
COMMENT = re.compile(r"^[#;]\s|\s[#;]")


@dataclass(frozen=True)
class Entry:
    """The text of an option in one source.

    :ivar key: group and name, in lower case
    :ivar text: the text
    :ivar source: the file's path, "environment" or "command line"
    :ivar shown: the option as it is written in the source
    :ivar line: the line number in the file; 0 for other sources
    :ivar problem: why the text cannot be used; empty if it can
    """

    key: Key
    text: str
    source: str
    shown: str
    line: int = 0
    problem: str = ""

    @property
    def where(self) -> str:
        """Option, file and line, for messages."""
        if not self.line:
            return self.shown
        return f"{self.shown} in {one_line(self.source)}, line {self.line}"


#: The options that one source sets.
Entries = dict[Key, Entry]


def default_path(name: str) -> list[str]:
    """Return the first path of a name in the default folders, if any."""
    folders = ["~/.poolmgr", "~", "/etc/poolmgr", "/etc"]
    paths = [os.path.expanduser(f"{folder}/{name}") for folder in folders]
    # Paths of a user without a home still begin with "~".
    return [p for p in paths if os.path.isabs(p) and os.path.exists(p)][:1]


def read_files(paths: Iterable[str]) -> list[Entries]:
    """Read files, and the ``*.conf`` files in folders, in this order.

    :raises ConfigError: a file cannot be read
    """
    found = []
    for path in paths:
        try:
            found += [_Parser(file).entries for file in _files_in(path)]
        except OSError as error:
            raise ConfigError(
                f"the configuration in {one_line(error.filename or path)} "
                f"cannot be read: {error.strerror}"
            ) from None
    return found


def _files_in(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = sorted(n for n in os.listdir(path) if fnmatch(n, "[!.]*.conf"))
    return [os.path.join(path, name) for name in names]


class _Parser(BaseParser):
    """A parser that collects the options of a file.

    Case and blanks in the names of sections and options do not matter, as in
    Libra's files. Comments need not be UTF-8.
    """

    def __init__(self, path: str) -> None:
        self.entries: Entries = {}
        self._path = path
        self._section = ""
        # Some editors begin a file with a byte order mark.
        text = Path(path).read_text("utf-8-sig", "surrogateescape")
        # An empty line ends the last value.
        self._lines = [*text.split("\n"), ""]
        try:
            self.parse(self._lines)
        except ParseError as error:
            # The line itself is not shown: it may contain a secret.
            raise ConfigError(
                f"{one_line(path)}, line {error.lineno}: {error.msg}"
            ) from None

    def new_section(self, section: str) -> None:
        self._section = section.strip()

    def assignment(self, key: str, value: list[str]) -> None:
        # The parser calls this at the line that follows the value.
        number, text = self.lineno - len(value), "\n".join(value)
        if not self._section:
            why = "there is no [section] before it, such as [worker]"
            raise ParseError(why, number, "")
        line = self._lines[number - 1].rstrip()
        # The parser has removed the quotes of the text.
        is_quoted = line.endswith((f"{text}'", f'{text}"'))
        problem = ""
        if COMMENT.search(text) and not is_quoted:
            problem = (
                "has a comment after it; put that on a line of its own, or "
                "quote the value if that is a part of it"
            )
        name = self._section.lower(), key.lower()
        before = self.entries.get(name)
        # oslo.config would use the last one, without a word.
        if before and before.text != text:
            problem = f"has another value in line {before.line}; remove one"
        shown = f"[{one_line(self._section)}] {one_line(key)}"
        entry = Entry(name, text, self._path, shown, number, problem)
        self.entries[name] = entry


def read_environment(environment: Mapping[str, str]) -> Entries:
    """Read the variables of the form ``OS_<GROUP>__<OPTION>``."""
    found: Entries = {}
    for variable, text in environment.items():
        if match := re.fullmatch("OS_([A-Z0-9_]+)__([A-Z0-9_]+)", variable):
            key, problem = (match[1].lower(), match[2].lower()), ""
            if text[:1] in ("'", '"') and text[0] == text[-1]:
                problem = "must not have quotes"
            found[key] = Entry(key, text, "environment", variable, 0, problem)
    return found


def variable_of(key: Key) -> str:
    """Return the environment variable that sets an option."""
    return f"OS_{key[0]}__{key[1]}".upper()
