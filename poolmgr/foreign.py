"""Exceptions that other people's code raises, in libraries and plugins."""

import pickle
import threading
from opcode import opmap
from typing import Any

from poolmgr.text import one_line

_PLAIN = (str, int, float, bool, type(None))


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
    """Whether a signal handler raised this, as for Ctrl-C.

    Code that raises KeyboardInterrupt or SystemExit itself has a defect. A
    signal handler raises between any two instructions of the main thread;
    Python's own handler has no frame.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        return False
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return True
    frame = where.tb_frame
    if str(frame.f_globals.get("__name__")).startswith("poolmgr."):
        return True
    raises = frame.f_code.co_code[where.tb_lasti] == opmap["RAISE_VARARGS"]
    return isinstance(error, KeyboardInterrupt) and not raises


class Portable(Exception):
    """An exception that can be pickled and copied.

    Whatever its subclass takes and keeps: what cannot be pickled, as a lock,
    becomes its text.
    """

    def __reduce__(self) -> tuple[object, ...]:
        # Python itself would call __init__ with the finished message.
        plain = all(type(arg) in _PLAIN for arg in self.args)
        args = self.args if plain else (words_of(self),)
        state = {name: _portable(v) for name, v in vars(self).items()}
        return _restore, (type(self), args), state

    def __setstate__(self, state: dict[str, Any] | None, /) -> None:
        # Not by setattr(): a subclass may refuse that.
        vars(self).update(state or {})


def _portable(value: object) -> object:
    if type(value) in _PLAIN:
        return value
    try:
        pickle.dumps(value)
    except Exception:
        return words_of(value)
    return value


def _restore(cls: type[Portable], args: tuple[object, ...]) -> object:
    error = cls.__new__(cls, *args)
    if isinstance(error, OSError):  # a subclass may be; __init__ has the text
        OSError.__init__(error, *args)
    return error
