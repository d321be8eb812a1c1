"""Python programs as real processes, without the time for their imports.

A server imports the modules of all commands, once for each test process. For
each program it forks a child, which gets the program's arguments, environment,
folder and files. Some programs need a new interpreter: see :func:`start`.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from pkgutil import walk_packages
from typing import Protocol

ROOT = Path(__file__).parent.parent
#: Variables that Python reads at its start.
_EARLY = ("LANG", "LC_", "LD_", "PYTHON", "SSL", "TZ")
#: One of them, which a child can apply by itself.
_PATH = "PYTHONPATH"
#: Few programs use the testing package.
_NOT_IMPORTED = "poolmgr.testing."
#: Modules that read the home and current folder at import.
_AT_HOME = ("openstack.config.loader", "stevedore._cache")
#: Modules that functions import.
_LAZY = (
    "asyncio",
    "cliff.columns",
    "encodings.idna",
    "keystoneauth1.identity.v3",
    "openstack.block_storage.v3._proxy",
    "openstack.compute.v2._proxy",
    "openstack.connection",
    "openstack.identity.v3._proxy",
    "openstack.image.v2._proxy",
    "openstack.network.v2._proxy",
    "yaml",
)

#: File descriptors of standard input, output and error.
Files = tuple[int, int, int]


class Started(Protocol):
    """A process with the interface of :class:`subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """Kill it."""


def start(
    module: str,
    args: Sequence[str],
    environment: dict[str, str],
    files: Files,
    folder: Path | None = None,
    through: Sequence[str] = (),
) -> Started:
    """Run a module as ``python -m`` does.

    Coverage and other values of Python's own variables need a new interpreter.

    :param files: standard input, output and error; a terminal as input becomes
        the controlling terminal
    :param folder: its current folder; by default this process's
    :param through: a command prefix, as ``nsenter ...``
    """
    if (
        _early(environment) == _early(os.environ)
        and not through
        and "COVERAGE_PROCESS_CONFIG" not in os.environ
    ):
        return _server().fork(
            [module, args, environment, str(folder or Path.cwd())], files
        )
    stdin, stdout, stderr = files
    if os.isatty(stdin):
        through = ["setsid", "--ctty", *through]
    return subprocess.Popen(
        [*through, sys.executable, "-m", module, *args],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        cwd=folder,
    )


def _early(variables: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(_EARLY) and name != _PATH
    }


class _Forked:
    """A child of the server."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._code: int | None = None
        self.pid = int(status.recv(64))

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._code if self._ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        if not self._ended(timeout) or self._code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> bool:
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                return False
            self._code = int(self._status.recv(64))
            self._status.close()
        return True


class _Server:
    """The tests' side of the server."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forkserver"]
                + [str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
            )
        atexit.register(self._end)

    def fork(self, request: object, files: Files) -> _Forked:
        """Run a module in a new child."""
        data = json.dumps(request).encode()
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            fds = [*files, theirs.fileno()]
            socket.send_fds(self._control, [data], fds)
        return _Forked(ours)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()


def _preload() -> None:
    """Import all modules that a command may use."""
    import poolmgr

    own = [each.name for each in walk_packages(poolmgr.__path__, "poolmgr.")]
    for name in [*own, *_LAZY]:
        if not name.startswith(_NOT_IMPORTED) and "__main__" not in name:
            # A module that cannot be imported fails in the program.
            with suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    # Otherwise garbage collection in each child would copy the memory.
    gc.freeze()


def _serve(control: socket.socket) -> tuple[str, list[str]] | None:
    """Fork a child for each request until the tests end.

    :returns: in a child, the program to run
    """
    running: dict[int, tuple[int, socket.socket]] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            if key.fileobj is not control:
                pid, status = running.pop(key.fd)
                _pid, code = os.waitpid(pid, 0)
                # The tests may have ended.
                with status, suppress(OSError):
                    status.send(b"%d" % os.waitstatus_to_exitcode(code))
                selector.unregister(key.fd)
                os.close(key.fd)
                continue
            data, fds, *_rest = socket.recv_fds(control, 1 << 20, 4)
            if not data:
                return None
            status = socket.socket(fileno=fds.pop())
            pid = os.fork()
            if not pid:
                for each in (control, status, selector):
                    each.close()
                for _pid, other in running.values():
                    other.close()
                return _become(data, fds)
            for fd in fds:
                os.close(fd)
            status.send(b"%d" % pid)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = (pid, status)
            selector.register(pidfd, selectors.EVENT_READ)


def _become(data: bytes, fds: list[int]) -> tuple[str, list[str]]:
    """Give a child the state of a newly started process."""
    module, args, environment, folder = json.loads(data)
    os.chdir(folder)
    sys.path[0] = folder
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, 4096)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = os.environ.get(_PATH, "").split(os.pathsep)
    path = environment.get(_PATH, "").split(os.pathsep)
    sys.path[1:1] = [each for each in path if each not in before]
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = TextIOWrapper(
        BufferedReader(_named(FileIO(0, closefd=False), "<stdin>"))
    )
    sys.stdout, sys.stderr = (
        TextIOWrapper(
            BufferedWriter(_named(FileIO(fd, "w", closefd=False), name)),
            errors=errors,
            line_buffering=always or os.isatty(fd),
        )
        for fd, name, errors, always in (
            (1, "<stdout>", "strict", False),
            (2, "<stderr>", "backslashreplace", True),
        )
    )
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    for name in _AT_HOME:
        importlib.reload(sys.modules[name])
    return module, args


def _named(file: FileIO, name: str) -> FileIO:
    file.name = name
    return file


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload()
    if (found := _serve(control)) is not None:
        module, args = found
        sys.argv = ["", *args]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ending:
            _finish(ending.code)
            raise


def _finish(code: object) -> None:
    """Exit like an interpreter, but without clearing all modules.

    Returns if a complete exit is needed.
    """
    waited_for = [each for each in threading.enumerate() if not each.daemon]
    if len(waited_for) > 1 or not isinstance(code, int | None):
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:
        return
    os._exit(code or 0)


if __name__ == "__main__":
    _main()
