"""Options in configuration files: which names, which text, which line.

The format is oslo.config's. Its own parser tells neither lines nor quotes.
"""

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from poolmgr.errors import ConfigError
from poolmgr.settings.rules import Rule
from poolmgr.text import one_line

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
    def key(self) -> tuple[str, str]:
        """Group and name."""
        return self.group, self.name

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{one_line(self.group)}] {one_line(self.name)}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{one_line(self.path)}, line {self.line}"


class ConfigFiles:
    """The options of some files; of one that is there twice, the last.

    Case, and blanks around it, do not matter in the name of a section or an
    option: they did not in Libra's files.

    :param paths: the files, in the order in which they are read
    :raises ConfigError: a file cannot be read
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files: list[dict[tuple[str, str], Entry]] = []
        for path in paths:
            found: dict[tuple[str, str], Entry] = {}
            for entry in _parse(path, _read(path)):
                before = found.get(entry.key)
                if before and before.text != entry.text:
                    entry = replace(entry, other=before.line)
                found[entry.key] = entry
            self._files.append(found)

    def entries(self) -> list[Entry]:
        """All of them, file by file."""
        return [entry for file in self._files for entry in file.values()]

    def find(self, *names: tuple[str, str]) -> Entry | None:
        """Find what counts among several names of one option.

        The last file wins, and in a file the first name.

        :param names: groups and names
        """
        for file in reversed(self._files):
            for name in names:
                if name in file:
                    return file[name]
        return None


def list_files(files: Sequence[str], directories: Sequence[str]) -> list[str]:
    """List the files that are read, those of folders included, in order.

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


def _parse(path: str, text: str) -> Iterator[Entry]:
    """The options in a text, in their order."""
    group = ""
    entry: Entry | None = None  # that the next line may continue
    for number, line in enumerate(text.split("\n"), 1):
        stripped, indented = line.strip(), line[:1] in (" ", "\t")
        if entry and stripped and indented:
            more = f"{entry.text}\n{stripped}" if entry.text else stripped
            entry = replace(entry, text=more)
            continue
        if entry:
            yield entry
            entry = None
        if not stripped or stripped[0] in "#;":
            continue
        if indented:
            raise _broken(path, number, "it begins with blanks; remove them")
        if stripped[0] == "[":
            group = stripped[1:-1].strip().lower()
            if stripped[-1] != "]" or not group:
                why = "a section is [name], and nothing else"
                raise _broken(path, number, why)
            group = "DEFAULT" if group == "default" else group
        elif not group:
            why = "there is no [section], as [worker], before it"
            raise _broken(path, number, why)
        else:
            entry = _option(path, number, group, stripped)
    if entry:
        yield entry


def _option(path: str, number: int, group: str, line: str) -> Entry:
    found = re.fullmatch(r"([^=:]+)[=:](.*)", line)
    if found is None:
        raise _broken(path, number, "it is not NAME = VALUE")
    name, text = found[1].strip().lower(), found[2].strip()
    quoted = text[:1] in ("'", '"') and text[0] == text[-1]
    text = text[1:-1] if quoted else text
    return Entry(path, number, group, name, text, quoted)


def _read(path: str) -> str:
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
        why = (
            "not UTF-8; if it is Latin-1, convert it: iconv -f latin1 -t utf-8"
        )
        raise _broken(path, number, why) from None
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
