"""The file of ``--log-file``."""

import logging
import os
import time
from collections.abc import Callable
from io import TextIOWrapper

from poolmgr.foreign import words_of
from poolmgr.text import one_line

Complain = Callable[[int, str], None]

#: Seconds for which a failure that was reported is not reported again.
_QUIET = 60.0


class LogFile(logging.FileHandler):
    """Writes lines into the file that has the path now.

    So logrotate can move the old one away, as with WatchedFileHandler. That
    one closes the old file before it can open a new one, raises into the
    caller when the folder is gone, and leaves half a line on a full disk.

    :param path: where it is; only its owner can write it, whatever the umask
    :param complain: called with a level and a text when the file cannot be
        written, once a minute at most, and when it can be again
    :raises OSError: it cannot be opened
    :raises ValueError: this is no path
    """

    def __init__(self, path: str, complain: Complain) -> None:
        super().__init__(path)
        self._complain = complain
        self._rest = b""  # of a line that the disk had room for a part of
        self._lost = 0
        self._failing = False
        self._reported = -_QUIET

    def fileno(self) -> int:
        """The file, which keeps its number when it is opened anew."""
        return self.stream.fileno() if self.stream else -1

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if not self.stream:
            return  # a thread that outlives the end of the log
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        error = None
        try:
            if not self._is_current():
                self._replace()
        except OSError as failed:
            error = failed  # the old file will do
        try:
            self._write(line)
        except OSError as failed:
            error = failed
        self._report(error)

    def reopen(self) -> None:
        """Open the path anew."""
        self.acquire()
        try:
            self._replace()
            self._report(None)
        except OSError as error:
            self._report(error)
        finally:
            self.release()

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o644)

        return open(self.baseFilename, "a", opener=opener)

    def _is_current(self) -> bool:
        try:
            now = os.stat(self.baseFilename)
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(self.fileno()))

    def _replace(self) -> None:
        with self._open() as fresh:
            # In one step: a report may be on its way into the file.
            os.dup2(fresh.fileno(), self.fileno(), inheritable=False)
        self._rest = b""

    def _write(self, line: bytes) -> None:
        """Write what is left of the last line, and this one.

        :raises OSError: not all was written
        """
        if self._rest and not os.fstat(self.fileno()).st_size:
            self._rest = b""  # the file was truncated
        left = self._rest + line
        try:
            while left:
                left = left[os.write(self.fileno(), left) :]
        except OSError:
            if len(left) >= len(line):  # nothing of this one was written
                left = left[: -len(line)]
                self._lost += 1
            raise
        finally:
            self._rest = left

    def _report(self, error: OSError | None) -> None:
        """Say it when the file cannot be written, and when it can again."""
        name = f"--log-file {one_line(self.baseFilename)!r}"
        now = time.monotonic()
        if error is None and self._failing:
            self._complain(
                logging.WARNING,
                f"{name} is written again; {self._lost} lines were lost",
            )
            self._failing, self._lost = False, 0
        elif error and not self._failing and now > self._reported + _QUIET:
            self._failing, self._reported = True, now
            why = one_line(error.strerror or words_of(error))
            self._complain(
                logging.ERROR,
                f"{name} cannot be written: {why}; lines are lost until it "
                "can be",
            )
