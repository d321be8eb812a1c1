"""The file of ``--log-file``."""

import logging
import os
import time
from collections.abc import Callable

from poolmgr.text import one_line

Complain = Callable[[int, str], None]

#: Seconds for which a trouble that was told is not told again.
_QUIET = 60.0


class LogFile(logging.Handler):
    """Writes lines into a file, whatever becomes of the file.

    As logging's WatchedFileHandler it writes into the file that has the path
    now, so that logrotate can move the old one away.  Unlike that it goes on
    with the old one while there can be no new one, raises nothing when the
    disk is full or the folder is gone, and never leaves half a line.

    Only its owner can write the file, whatever the umask.

    :param path: where it is
    :param complain: told, with a level, when it cannot be written and when it
        can again; never called for a second trouble within a minute
    :raises OSError: it cannot be opened
    :raises ValueError: this is no path
    """

    def __init__(self, path: str, complain: Complain) -> None:
        super().__init__()
        self._path = os.path.abspath(path)
        self._complain = complain
        self._file = self._opened()
        # What the disk had no room for of a line that it took a part of.
        self._rest = b""
        self._lost = 0
        self._in_trouble = False
        self._told = -_QUIET

    def fileno(self) -> int:
        """The file, which stays the same number when it is reopened."""
        return self._file

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if self._file < 0:
            return  # a thread that outlives the end of the log
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        trouble = None
        try:
            if not self._is_current():
                self._reopen()
        except OSError as error:
            trouble = error
        try:
            self._write(line)
        except OSError as error:
            trouble = error
        self._tell(trouble)

    def reopen(self) -> None:
        """Open the path anew."""
        self.acquire()
        try:
            self._reopen()
            self._tell(None)
        except OSError as error:
            self._tell(error)
        finally:
            self.release()

    def close(self) -> None:
        """Close the file."""
        super().close()
        file, self._file = self._file, -1
        os.close(file)

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, 0o644)

    def _is_current(self) -> bool:
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(self._file))

    def _reopen(self) -> None:
        fresh = self._opened()
        # In one step: a report may just be written into it.
        os.dup2(fresh, self._file, inheritable=False)
        os.close(fresh)
        self._rest = b""

    def _write(self, line: bytes) -> None:
        """Write what is left of the last line, and this one.

        :raises OSError: not all was written
        """
        if self._rest and not os.fstat(self._file).st_size:
            self._rest = b""  # it was truncated, and the part with it
        left = self._rest + line
        try:
            while left:
                left = left[os.write(self._file, left) :]
            self._rest = b""
        except OSError:
            if len(left) < len(line):
                self._rest = left
            else:
                self._rest = left[: -len(line)]
                self._lost += 1
            raise

    def _tell(self, trouble: OSError | None) -> None:
        """Say so when it begins, and when it is over."""
        if trouble is None:
            if self._in_trouble:
                self._in_trouble = False
                said = f"is written again; {self._lost} lines were lost"
                self._complain(logging.WARNING, f"{self._named} {said}")
                self._lost = 0
            return
        now = time.monotonic()
        if not self._in_trouble and now - self._told >= _QUIET:
            self._in_trouble, self._told = True, now
            why = one_line(trouble.strerror or str(trouble))
            self._complain(
                logging.ERROR,
                f"{self._named} cannot be written: {why}; lines are lost "
                "until it can be",
            )

    @property
    def _named(self) -> str:
        return f"--log-file {one_line(self._path)!r}"
