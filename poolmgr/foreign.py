"""Exceptions that other people's code raises, in libraries and plugins."""

import threading

from poolmgr.text import one_line


def words_of(error: object) -> str:
    """The text of any object; the name of its type if it has none."""
    try:
        # Joined, so that a subclass of str becomes plain text.
        return str.join("", [str(error)])
    except BaseException:
        return type(error).__name__


def told(error: BaseException) -> str:
    """An exception in one line: its type and its text."""
    kind, words = type(error).__name__, words_of(error)
    return one_line(f"{kind}: {words}" if words not in ("", kind) else kind)


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal raised this, as Ctrl-C does, and not a defect.

    Signals are handled on the main thread. SystemExit is a defect of who
    raises it: only the program may end itself.
    """
    on_main = threading.current_thread() is threading.main_thread()
    return on_main and isinstance(error, KeyboardInterrupt)
