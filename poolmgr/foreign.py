"""Exceptions that other people's code raises, in libraries and plugins."""

import threading
from opcode import opmap

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
