"""What is written in configuration files: by which name, and where."""

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from poolmgr.errors import ConfigError
from poolmgr.settings import Rule
from poolmgr.text import one_line

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTES = ("'", '"')


@dataclass(frozen=True)
class Entry:
    """An option that a file has.

    :ivar path: the file
    :ivar line: the number of its line
    :ivar group: the section, in lower case unless it is ``DEFAULT``
    :ivar name: the option, in lower case
    :ivar text: its value, without quotes around it
    :ivar quoted: whether there are quotes around it
    :ivar other: the line with another value of it in the same file, or 0
    """

    path: str
    line: int
    group: str
    name: str
    text: str
    quoted: bool = False
    other: int = 0

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{one_line(self.group)}] {one_line(self.name)}"


class Written:
    """The options of some files; of one that is there twice, the last.

    The format is oslo.config's.  Case, and blanks around it, do not matter
    in the name of a section or an option: they did not in Libra's files.

    :param paths: the files, in the order in which they are read
    :raises ConfigError: a file cannot be read
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = [_entries(path) for path in paths]

    def entries(self) -> list[Entry]:
        """All of them, file by file."""
        return [entry for file in self._files for entry in file.values()]

    def find(self, *names: tuple[str, str]) -> Entry | None:
        """What counts among several names of one option.

        The last file wins, and in a file the first name.

        :param names: groups and names
        """
        for file in reversed(self._files):
            for name in names:
                if name in file:
                    return file[name]
        return None


def files_of(files: Sequence[str], directories: Sequence[str]) -> list[str]:
    """The files that are read, those of folders included, in order.

    :raises ConfigError: a folder cannot be read
    """
    found = list(files)
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except (OSError, ValueError) as error:
            raise _unreadable("folder", directory, error) from None
        found += [
            os.path.join(directory, name)
            for name in names
            if name.endswith(".conf") and not name.startswith(".")
        ]
    return found


def all_names(group: str, name: str, rule: Rule) -> list[tuple[str, str]]:
    """Group and name of an option, the new ones first."""
    found = [(group, name)]
    for where in rule.old:
        old_group, _, old = where.partition(".")
        found.append((old_group, old))
        if old_group == "mgm":
            # Libra's first releases took all options there, too.
            found.append(("global", old))
    return found


def variable_of(group: str, name: str) -> str:
    """The variable of the environment that sets an option."""
    return f"OS_{group.upper()}__{name.upper()}"


def _entries(path: str) -> dict[tuple[str, str], Entry]:
    found: dict[tuple[str, str], Entry] = {}
    for entry in _parsed(path, _text_of(path)):
        key = entry.group, entry.name
        if (before := found.get(key)) and before.text != entry.text:
            entry = replace(entry, other=before.line)
        found[key] = entry
    return found


def _parsed(path: str, text: str) -> Iterator[Entry]:
    """The options in a text, in their order."""
    group = ""
    last: Entry | None = None  # what the next line may go on with
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.strip()
        if last and line and whole[0] in " \t":
            last = replace(
                last, text=f"{last.text}\n{line}" if last.text else line
            )
            continue
        if last:
            yield last
            last = None
        if not line or line[0] in "#;":
            continue
        if whole[0] in " \t":
            raise _broken(path, number, "it begins with blanks; remove them")
        if line[0] == "[":
            group = _section(path, number, line)
        elif not group:
            raise _broken(
                path, number, "there is no [section], as [worker], before it"
            )
        else:
            last = _option(path, number, group, line)
    if last:
        yield last


def _section(path: str, number: int, line: str) -> str:
    name = line[1:-1].strip().lower()
    if line[-1] != "]" or not name:
        raise _broken(path, number, "a section is [name], and nothing else")
    return "DEFAULT" if name == "default" else name


def _option(path: str, number: int, group: str, line: str) -> Entry:
    ends = [end for end in (line.find("="), line.find(":")) if end >= 0]
    if not ends or not min(ends):
        raise _broken(path, number, "it is not NAME = VALUE")
    name = line[: min(ends)].strip().lower()
    text = line[min(ends) + 1 :].strip()
    quoted = text[:1] in _QUOTES and text[0] == text[-1]
    return Entry(
        path, number, group, name, text[1:-1] if quoted else text, quoted
    )


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        raise _unreadable("file", path, error) from None
    if content.startswith(_MARKS):
        raise ConfigError(
            f"{one_line(path)} begins with a byte order mark: save it as "
            "UTF-8 without one"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise _broken(
            path,
            number,
            "not UTF-8; if it is Latin-1, convert it: iconv -f latin1 -t "
            "utf-8",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _broken(path: str, number: int, why: str) -> ConfigError:
    # Without the line itself: it may have a secret in it.
    return ConfigError(f"{one_line(path)}, line {number}: {why}")


def _unreadable(what: str, path: str, error: Exception) -> ConfigError:
    why = getattr(error, "strerror", None) or str(error)
    return ConfigError(
        f"the configuration {what} {one_line(path)} cannot be read: "
        f"{one_line(why)}"
    )
