"""What a terminal can do, and what people say of it in the environment."""

import os
from typing import Protocol


class Output(Protocol):
    """A stream, or what stands for one."""

    def isatty(self) -> bool:
        """Whether it goes to a terminal."""

    def fileno(self) -> int:
        """The file that it goes to."""


def is_terminal(stream: Output) -> bool:
    """Whether somebody looks at it, and its cursor can be moved."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in (
            "",
            "dumb",
        )
    except ValueError:  # it is closed
        return False


def has_colours(stream: Output) -> bool:
    """Whether to colour what goes there; see https://no-color.org."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")
