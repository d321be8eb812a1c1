"""Running commands, in parallel if needed, and waiting."""

import contextlib
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

STARTED = time.monotonic()
_lock = threading.Lock()
_children: set[subprocess.Popen[bytes]] = set()
_interrupted = False


class TestcloudError(Exception):
    """The cloud cannot be started; the text says why."""

    __test__ = False  # not a test class, despite its name


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)


def run(
    *args: str | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
) -> None:
    """Run a command and append its output to a log.

    :raises TestcloudError: it failed; the text has the end of the log
    """
    command = [str(arg) for arg in args]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out, open(stdin or os.devnull, "rb") as source:
        out.write(f"$ {shlex.join(command)}\n".encode())
        out.flush()
        code = _wait(
            lambda: subprocess.Popen(
                command, stdin=source, stdout=out, stderr=out, env=env
            )
        )
    if code:
        raise TestcloudError(
            f"{shlex.join(command[:4])} ... failed ({code}):\n{tail(log)}"
        )


def together(*functions: Callable[[], object]) -> None:
    """Run functions in parallel; raise the first error.

    A failure or an interruption ends the commands of all.
    """
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            _terminate_all()
            raise


def wait_until(
    what: str, test: Callable[[], bool], patience: float = 180.0
) -> None:
    """Wait until a condition is true.

    :raises TestcloudError: the time is up
    """
    end = time.monotonic() + patience
    while not test():
        if _interrupted:
            raise TestcloudError("interrupted")
        if time.monotonic() > end:
            raise TestcloudError(f"{what}: not ready after {patience:.0f} s")
        time.sleep(0.1)


def tail(log: Path, size: int = 2500) -> str:
    """Return the end of a log."""
    return log.read_text(errors="replace")[-size:]


def _wait(start: Callable[[], subprocess.Popen[bytes]]) -> int:
    with _lock:
        if _interrupted:
            raise TestcloudError("interrupted")
        child = start()
        _children.add(child)
    try:
        return child.wait()
    except KeyboardInterrupt:
        _terminate(child)
        child.wait()
        raise
    finally:
        with _lock:
            _children.discard(child)


def _terminate_all() -> None:
    global _interrupted
    with _lock:
        _interrupted = True
        for child in _children:
            _terminate(child)


def _terminate(child: subprocess.Popen[bytes]) -> None:
    # A root process started by sudo cannot be ended; it ends by itself.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        child.terminate()
