"""poolmgr as real processes."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.forkserver import start

TIMEOUT = 120.0


def poolmgr(
    *args: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for its end."""
    with TemporaryFile() as given, TemporaryFile() as out:
        with TemporaryFile() as error:
            given.write((stdin or "").encode())
            given.seek(0)
            process = start(
                "poolmgr",
                args,
                {**os.environ, **environment},
                (given.fileno(), out.fileno(), error.fileno()),
            )
            try:
                code = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            return subprocess.CompletedProcess(
                args, code, _written(out), _written(error)
            )


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class Process:
    """A running command with its log.

    :param through: a command prefix, as ``nsenter ...``
    """

    def __init__(
        self,
        args: Sequence[str],
        through: Sequence[str] = (),
        **environment: str,
    ) -> None:
        # Most tests need no pages, and the default port is only free once.
        variables = {
            "OS_MONITORING__ENABLED": "false",
            **os.environ,
            **environment,
        }
        reading, writing = os.pipe()
        self._errors = os.fdopen(reading)
        null = os.open(os.devnull, os.O_RDWR)
        files = (null, null, writing)
        self._process = start(
            "poolmgr", args, variables, files, through=through
        )
        os.close(null)
        os.close(writing)
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._errors:
            self.lines.append(line)
            self._new.put(line)

    def wait_for(self, words: str) -> str:
        """Wait for the next new line with these words."""
        end = time.monotonic() + TIMEOUT
        while (left := end - time.monotonic()) > 0:
            try:
                line = self._new.get(timeout=left)
            except queue.Empty:
                break
            if words in line:
                return line
        raise AssertionError(f"no {words!r} in:\n{''.join(self.lines)}")

    def ended_by(self, number: signal.Signals) -> bool:
        """Send a signal; return whether the process has ended."""
        self.signal(number)
        return self._process.poll() is not None

    def signal(self, *numbers: signal.Signals) -> None:
        """Send a signal, or several that arrive together."""
        if len(numbers) > 1:
            # A stopped process handles them all when it continues.
            numbers = (signal.SIGSTOP, *numbers, signal.SIGCONT)
        for number in numbers:
            self._process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end and return the exit code."""
        code = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code

    def end(self) -> None:
        """End it: by SIGTERM, twice if needed, then by SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1.0)
        self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self._errors.close()


@contextmanager
def worker(
    servers: Sequence[str],
    config: str = "",
    folder: Path | None = None,
    through: Sequence[str] = (),
    **environment: str,
) -> Iterator[Process]:
    """Run a worker on the fake cloud.

    :param config: the text of its configuration file
    :param folder: the folder of that file
    :param through: see :class:`Process`
    :param environment: additional variables
    """
    args = ["--driver", "fake"]
    for server in servers:
        args += ["--gearman-server", server]
    if config:
        assert folder is not None
        path = folder / "worker.conf"
        path.write_text(config)
        args += ["--config-file", str(path)]
    process = Process([*args, "worker"], through, **environment)
    try:
        yield process
    finally:
        process.end()
