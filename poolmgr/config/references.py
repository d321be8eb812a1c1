"""What sets an option, and the options that its value names."""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from poolmgr.config.files import Entry, all_names
from poolmgr.config.values import as_text
from poolmgr.settings import IsSettings, Rule, rules

#: Most values that one value is made of.
_MOST = 100


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


class References(Mapping[str, str]):
    """The options that a value names, as ``$name`` or ``${group.name}``.

    :param given: tells what sets an option, None if nothing does
    :param known: the groups and their settings classes; the last is the
        value's own
    """

    def __init__(
        self,
        given: Callable[[str, str, Rule], Given | None],
        known: Sequence[tuple[str, type[IsSettings]]],
    ) -> None:
        self._given = given
        self._known = known
        self._group = known[-1][0]
        self._way: list[Given] = []
        self._replaced = 0
        self._secret = False

    def replaced(self, option: Given, rule: Rule) -> str:
        """The text of an option with the values of those that it names.

        :raises ValueError: one of them cannot be used
        """
        if option.origin == "command line" or "$" not in option.text:
            return option.text
        self._secret |= rule.secret
        self._replaced += 1
        if option in self._way or self._replaced > _MOST:
            raise ValueError("refers to itself, or to too many others")
        self._way.append(option)
        text = option.text.replace("\\$", "$$")
        found = _Template(text).safe_substitute(self)
        self._way.pop()
        return found

    def __getitem__(self, key: str) -> str:
        group, _dot, name = key.rpartition(".")
        for other, settings in self._known:
            for field, rule in rules(settings):
                names = all_names(other, field.name, rule)
                if (group or self._group, name) in names or (
                    not group
                    and other == self._group
                    and name in (old for _group, old in names)
                ):
                    option = self._given(other, field.name, rule)
                    if option is None:
                        return as_text(field.default)
                    return self.replaced(option, rule)
        if self._secret:
            # The name of what is not there is a part of the secret.
            raise ValueError("cannot be used (is a '$' to be '$$'?)")
        raise ValueError(f"there is no option {key!r} (is a '$' to be '$$'?)")

    def __iter__(self) -> Iterator[str]:
        return iter(())  # they are only looked up

    def __len__(self) -> int:
        return 0


class _Template(string.Template):
    """Names as oslo.config has them."""

    idpattern = r"[_a-z][\._a-z0-9]*"
