"""What sets an option: the files, the environment, the command line."""

import os
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from poolmgr.config import values
from poolmgr.config.files import (
    ConfigFiles,
    Entry,
    list_files,
    variable_of,
)
from poolmgr.config.values import Option
from poolmgr.errors import ConfigError
from poolmgr.text import one_line

#: Most options that refer to each other in a row.
_DEEPEST = 20


@dataclass(frozen=True)
class Given:
    """What sets an option.

    :ivar origin: "file", "environment" or "command line"
    :ivar where: the place, as people look for it
    :ivar text: the value as it stands there
    :ivar entry: the option in the file, if it is one
    """

    origin: str
    where: str
    text: str
    entry: Entry | None = None


class Sources:
    """What the files, the environment and the command line say.

    :param files: configuration files; when none is given, the first
        ``poolmgr.conf`` there is in the usual folders
    :param directories: folders of ``*.conf`` files; when none is given, the
        first ``poolmgr.conf.d`` there is
    :param alone: whether the files count alone, without the environment and
        the usual places
    :raises ConfigError: a file cannot be read
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        self._overrides: dict[tuple[str, str], Given] = {}
        self._args = (files, directories, alone)
        own = [] if alone or files else _usual("poolmgr.conf")
        folders = [] if alone or directories else _usual("poolmgr.conf.d")
        self._sources = [*own, *folders, *files, *directories]
        #: The environment, as far as it counts.
        self.environment: Mapping[str, str] = {} if alone else os.environ
        #: What is in the files.
        self.contents = ConfigFiles(
            [
                *list_files(own, folders),
                *list_files(
                    [os.path.expanduser(path) for path in files],
                    [os.path.expanduser(path) for path in directories],
                ),
            ]
        )

    def use_driver(self, name: str) -> None:
        """Have the command line's ``--driver`` win over everything else."""
        self._override("--driver", "poolmgr", driver=name)

    def use_servers(self, servers: Sequence[str]) -> None:
        """Likewise ``--gearman-server``."""
        self._override(
            "--gearman-server", "gearman", servers=", ".join(servers)
        )

    def use_cloud(self, name: str) -> None:
        """Likewise ``--os-cloud``, whatever credentials are configured.

        :raises ConfigError: it is empty
        """
        if not name.strip():
            raise ConfigError("--os-cloud: is empty; name a cloud")
        self._override("--os-cloud", "nova", cloud=name, auth_url="")

    def given(self, option: Option) -> Given | None:
        """What sets an option; None if nothing does."""
        names = option.names
        if (given := self._overrides.get(names[0])) is not None:
            return given
        for variable in (variable_of(*name) for name in names):
            if (text := self.environment.get(variable)) is not None:
                return Given("environment", variable, text)
        if (entry := self.contents.find(*names)) is None:
            return None
        where = f"{entry.shown} in {entry.place}"
        return Given("file", where, entry.text, entry)

    def text_of(
        self, option: Option, given: Given, known: Iterable[Option]
    ) -> str:
        """The text of an option, with the values of those that it names.

        :param given: what sets it
        :param known: the options that it can name
        :raises ValueError: it is no value as people write it, or names an
            option that cannot be used
        """
        _require_plain(given, option.rule.secret)
        names = {name: other for other in known for name in other.names}
        return self._replaced(option, given, names)

    def again(self) -> Self:
        """What the same files say now; the command line wins as before.

        :raises ConfigError: a file cannot be read, or one that was read is
            not there any more
        """
        fresh = type(self)(*self._args)
        fresh._overrides = self._overrides
        if gone := [f for f in self._sources if f not in fresh._sources]:
            raise ConfigError(f"{one_line(', '.join(gone))}: it is gone")
        return fresh

    def _replaced(
        self,
        option: Option,
        given: Given,
        known: Mapping[tuple[str, str], Option],
        depth: int = 0,
    ) -> str:
        # As oslo.config has it: $name or ${group.name}.
        if given.origin == "command line" or "$" not in given.text:
            return given.text
        if depth > _DEEPEST:
            raise ValueError("refers to itself, or to too many others")
        group = given.entry.group if given.entry else option.group
        template = _Template(given.text.replace("\\$", "$$"))
        found = {}
        for key in template.get_identifiers():
            wanted, _dot, name = key.rpartition(".")
            named = known.get((wanted or option.group, name))
            named = named or known.get((wanted or group, name))
            if named is None:
                # The name of what is not there is a part of the secret.
                what = f"there is no option {key!r}"
                what = "cannot be used" if option.rule.secret else what
                raise ValueError(f"{what} (is a '$' to be '$$'?)")
            found[key] = values.as_text(named.default)
            if (other := self.given(named)) is not None:
                found[key] = self._replaced(named, other, known, depth + 1)
        return template.safe_substitute(found)

    def _override(self, option: str, group: str, **given: str) -> None:
        for name, text in given.items():
            self._overrides[group, name] = Given("command line", option, text)


class _Template(string.Template):
    """Names as oslo.config has them."""

    idpattern = r"[_a-z][\._a-z0-9]*"


def _usual(name: str) -> list[str]:
    """The first of this name in the usual folders, if there is one."""
    home = os.path.expanduser("~")
    folders = ["/etc/poolmgr", "/etc"]
    if os.path.isabs(home):  # it is "~" for a user without one
        folders = [os.path.join(home, ".poolmgr"), home, *folders]
    paths = (os.path.join(folder, name) for folder in folders)
    return [path for path in paths if os.path.exists(path)][:1]


def _require_plain(given: Given, secret: bool) -> None:
    """Refuse what is no value as people write it.

    :param secret: whether the value may not be shown
    :raises ValueError: what is wrong
    """
    text, entry = given.text, given.entry
    values.require_plain(text, secret)
    if entry and entry.other:
        raise ValueError(
            f"has another value in line {entry.other}; remove one"
        )
    if given.origin == "environment":
        if text[:1] in ("'", '"') and text[0] == text[-1]:
            raise ValueError(
                "has quotes around it, which are a part of a value there; "
                "remove them"
            )
        if not secret:
            values.require_no_comment(text, secret=False)
    elif entry and not entry.quoted:
        values.require_no_comment(text, secret)
