"""What goes to terminals and scripts: nothing in it acts by itself."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from cliff.columns import FormattableColumn

from poolmgr.text import lines, one_line

#: Formats for programs: they write down any text by their own rules.
EXACT = ("json", "yaml")

# What spreadsheets take for the beginning of a formula.
_FORMULA = re.compile(r"[=+@-].")


class Stream:
    """A stream on which foreign text cannot reach the terminal's controls.

    :param raw: what is written to
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self._print: Callable[..., object] | None = None

    def write(self, text: str, paint: tuple[str, str] | None = None) -> int:
        """Write text; control characters are escaped.

        :param paint: a word of the text, and the colour that it has where it
            stands first
        """
        safe = lines(text)
        if paint is not None:
            word, colour = paint
            safe = safe.replace(word, f"\x1b[{colour}m{word}\x1b[0m", 1)
        if self._print is not None:
            self._print(safe, end="")
        else:
            self.raw.write(safe)
        return len(text)

    @contextmanager
    def printing_with(self, print_: Callable[..., object]) -> Iterator[None]:
        """Have something else print while the block runs, as above a line
        that stays the last one.

        :param print_: takes a text, and ``end`` as :func:`print` does
        """
        self._print = print_
        try:
            yield
        finally:
            self._print = None

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at it, and its cursor can be moved."""
        with suppress(ValueError):  # it is closed
            known = os.environ.get("TERM", "") not in ("", "dumb")
            return known and self.raw.isatty()
        return False

    @property
    def has_colours(self) -> bool:
        """Whether to colour what goes there; see https://no-color.org."""
        return self.is_terminal and not os.environ.get("NO_COLOR")

    def writelines(self, texts: Iterable[str]) -> None:
        """Write several."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def harmless_names(names: Sequence[str], format_: str) -> list[str]:
    """Column names as a format can have them."""
    if format_ in EXACT:
        return list(names)
    if format_ == "shell":
        # They become variables' names.
        return [re.sub(r"\W", "_", name, flags=re.ASCII) for name in names]
    return [one_line(name) for name in names]


def harmless(value: object, format_: str) -> object:
    """A cell as a format can have it.

    JSON and YAML have it as it is. Elsewhere it is one printable line, and
    in a shell or a spreadsheet nothing in it is evaluated.
    """
    if format_ in EXACT:
        return value
    if isinstance(value, FormattableColumn):
        return _Harmless(value, format_)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _harmless(str(value), format_)


class _Harmless(FormattableColumn[Any]):
    """A value that knows how it is shown, made harmless."""

    def __init__(self, value: FormattableColumn[Any], format_: str) -> None:
        super().__init__(value)
        self._format = format_

    def human_readable(self) -> str:
        return _harmless(self._value.human_readable(), self._format)

    def machine_readable(self) -> str:
        return _harmless(str(self._value.machine_readable()), self._format)

    def __lt__(self, other: object) -> bool:
        return isinstance(other, _Harmless) and self._value < other._value


def _harmless(text: str, format_: str) -> str:
    text = one_line(text, longest=len(text))
    if format_ == "shell":
        return re.sub(r"([\\$`])", r"\\\1", text)
    if format_ == "csv" and _FORMULA.match(text):
        return f"'{text}"
    return text
