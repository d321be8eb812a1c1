"""What sets an option: the files, the environment, the command line."""

import os
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any, Self

from poolmgr.config import values
from poolmgr.config.files import (
    ConfigFiles,
    Entry,
    all_names,
    list_files,
    variable_of,
)
from poolmgr.errors import ConfigError
from poolmgr.rules import IsSettings, Rule, rules
from poolmgr.text import one_line

Group = tuple[str, type[IsSettings]]

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

    def given(self, group: str, name: str, rule: Rule) -> Given | None:
        """What sets an option; None if nothing does."""
        if (option := self._overrides.get((group, name))) is not None:
            return option
        names = all_names(group, name, rule)
        for each in names:
            variable = variable_of(*each)
            if (text := self.environment.get(variable)) is not None:
                return Given("environment", variable, text)
        if (entry := self.contents.find(*names)) is None:
            return None
        where = f"{entry.shown} in {entry.place}"
        return Given("file", where, entry.text, entry)

    def text_of(
        self, option: Given, groups: Sequence[Group], rule: Rule
    ) -> str:
        """The text of an option, with the values of those that it names.

        :param groups: all groups; the last is the option's own
        :raises ValueError: it is no value as people write it, or names an
            option that cannot be used
        """
        _require_plain(option, rule)
        return self._replaced(option, groups, rule.secret)

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
        option: Given,
        groups: Sequence[Group],
        secret: bool,
        depth: int = 0,
    ) -> str:
        # As oslo.config has it: $name or ${group.name}.
        if option.origin == "command line" or "$" not in option.text:
            return option.text
        if depth > _DEEPEST:
            raise ValueError("refers to itself, or to too many others")
        template = _Template(option.text.replace("\\$", "$$"))
        found = {}
        for name in template.get_identifiers():
            named = next(_find(name, groups), None)
            if named is None:
                # The name of what is not there is a part of the secret.
                what = f"there is no option {name!r}"
                what = "cannot be used" if secret else what
                raise ValueError(f"{what} (is a '$' to be '$$'?)")
            group, field, rule = named
            given = self.given(group[0], field.name, rule)
            found[name] = values.as_text(field.default)
            if given is not None:
                found[name] = self._replaced(
                    given, [*groups, group], secret or rule.secret, depth + 1
                )
        return template.safe_substitute(found)

    def _override(self, option: str, group: str, **given: str) -> None:
        for name, text in given.items():
            self._overrides[group, name] = Given("command line", option, text)


def _find(
    key: str, groups: Sequence[Group]
) -> Iterator[tuple[Group, Field[Any], Rule]]:
    """Find the option that a reference names."""
    wanted, _dot, name = key.rpartition(".")
    own = groups[-1][0]
    for group in groups:
        for field, rule in rules(group[1]):
            names = all_names(group[0], field.name, rule)
            if not wanted and group[0] == own:
                names = [(wanted, old) for _group, old in names]
            if (wanted, name) in names:
                yield group, field, rule


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


def _require_plain(option: Given, rule: Rule) -> None:
    """Refuse what is no value as people write it.

    :raises ValueError: what is wrong
    """
    text, entry = option.text, option.entry
    values.require_plain(text, rule.secret)
    if entry and entry.other:
        raise ValueError(
            f"has another value in line {entry.other}; remove one"
        )
    if option.origin == "environment":
        if text[:1] in ("'", '"') and text[0] == text[-1]:
            raise ValueError(
                "has quotes around it, which are a part of a value there; "
                "remove them"
            )
        if not rule.secret:
            values.require_no_comment(text, secret=False)
    elif entry and not entry.quoted:
        values.require_no_comment(text, rule.secret)
