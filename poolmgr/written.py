"""What is written in configuration files: by which name, and where."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oslo_config import cfg, iniparser

from poolmgr.errors import ConfigError
from poolmgr.settings import Rule
from poolmgr.text import one_line


@dataclass(frozen=True)
class Entry:
    """An option that a file has.

    :ivar path: the file
    :ivar group: the section, in lower case unless it is ``DEFAULT``
    :ivar name: the option
    :ivar text: its value as it stands there
    """

    path: str
    group: str
    name: str
    text: str

    @property
    def shown(self) -> str:
        """The option as people write it."""
        return f"[{one_line(self.group)}] {one_line(self.name)}"


class Written:
    """The options of some files; of one that is there twice, the last.

    :param paths: the files, in the order in which they are read; what is
        not there any more has nothing in it
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
    """The files that are read, those of folders included, in order."""
    found = list(files)
    for directory in directories:
        if os.path.isdir(directory):
            names = sorted(os.listdir(directory))
            found += [
                os.path.join(directory, name)
                for name in names
                if name.endswith(".conf") and not name.startswith(".")
            ]
    return found


def all_names(group: str, name: str, rule: Rule) -> list[tuple[str, str]]:
    """Group and name of an option, the new ones first."""
    pairs = (old.split(".") for old in rule.old)
    return [(group, name), *((pair[0], pair[1]) for pair in pairs)]


def _entries(path: str) -> dict[tuple[str, str], Entry]:
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, iniparser.ParseError) as error:
        # The parser's own words have the line in them: it may be a secret.
        why = getattr(error, "strerror", None) or "it is not understood"
        raise ConfigError(f"{one_line(path)}: {why}") from None
    found = {}
    for section, options in sections.items():
        group = section if section == "DEFAULT" else section.lower()
        for name, texts in options.items():
            found[group, name] = Entry(path, group, name, texts[-1])
    return found
