"""Values that a table shows otherwise than JSON does."""

from typing import TypeVar

from cliff.columns import FormattableColumn

from poolmgr.text import format_duration, one_line

T = TypeVar("T")


class Maybe(FormattableColumn[T | None]):
    """A value that may be missing: nothing in a table, null in JSON."""

    def human_readable(self) -> str:
        """The value as a text."""
        return "" if self._value is None else self.shown(self._value)

    def shown(self, value: T) -> str:
        """What a table shows of a value that is there."""
        return str(value)

    def __lt__(self, other: object) -> bool:
        """Whether it comes before another; what is missing comes last."""
        if not isinstance(other, Maybe) or self._value is None:
            return False
        return other._value is None or bool(self._value < other._value)


class Text(Maybe[str]):
    """A text from elsewhere, harmless in every format.

    What should be a text and is not is shown as Python writes it.
    """

    def __init__(self, value: object) -> None:
        super().__init__(None if value is None else one_line(str(value)))


class Age(Maybe[int]):
    """Seconds, in a table as "3m 12s"."""

    def shown(self, value: int) -> str:
        """The two largest units."""
        return format_duration(value)


class YesNo(FormattableColumn[bool]):
    """True or false, in a table as "yes" or "no"."""

    def human_readable(self) -> str:
        """A word for it."""
        return "yes" if self._value else "no"


class Texts(FormattableColumn[list[str]]):
    """A list of texts, in a table in one line."""

    def __init__(self, value: list[str]) -> None:
        super().__init__([one_line(str(text)) for text in value])

    def human_readable(self) -> str:
        """All of them."""
        return ", ".join(self._value)
