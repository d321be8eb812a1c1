"""Python programs as real processes, without the time for their imports.

A server imports what commands import, once for each process of the tests. It
forks a child for each program, which gets the program's arguments,
environment, folder and files, and then goes on as a new interpreter would.
What only a new interpreter sees needs one: see :func:`start`.
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
#: Variables that are read when Python starts.
_EARLY = ("LANG", "LC_", "LD_", "PYTHON", "SSL", "TZ")
_PATH = "PYTHONPATH"  # but a child can take this one over
#: The kit for tests is run by few programs.
_NOT_IMPORTED = "poolmgr.testing."
#: Modules that look at the home and the folder when they are imported.
_AT_HOME = ("openstack.config.loader", "stevedore._cache")
#: Imported by functions of what is imported anyway.
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

#: Descriptors of standard input, output and error.
Files = tuple[int, int, int]


class Started(Protocol):
    """A process, as :class:`subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None:
        """The exit code; None as long as it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""

    def send_signal(self, sig: int) -> None:
        """Send a signal if it still runs."""

    def kill(self) -> None:
        """End it at once."""


def start(
    module: str,
    args: Sequence[str],
    environment: dict[str, str],
    files: Files,
    folder: Path | None = None,
    through: Sequence[str] = (),
) -> Started:
    """Run a module as ``python -m`` does.

    It gets a new interpreter if there are others of the variables that Python
    looks at when it starts, or if what it covers is measured.

    :param files: its standard input, output and error; a terminal as its
        input becomes its controlling terminal
    :param folder: where it runs; as a rule, where this process does
    :param through: a command that runs it, as ``nsenter ...``
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


# -- the tests' side --------------------------------------------------


class _Forked:
    """A child of the server."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._code: int | None = None
        self.pid = int(status.recv(64))

    def poll(self) -> int | None:
        """The exit code; None as long as it runs."""
        return self._code if self._ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""
        if not self._ended(timeout) or self._code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> bool:
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                return False
            self._code = int(self._status.recv(64))
            self._status.close()
        return True


class _Server:
    """The server, as the tests see it."""

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
        """Have it run a module."""
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


# -- the server's side ------------------------------------------------------


def _preload() -> None:
    """Import all that a command may import."""
    import poolmgr

    own = [each.name for each in walk_packages(poolmgr.__path__, "poolmgr.")]
    for name in [*own, *_LAZY]:
        if not name.startswith(_NOT_IMPORTED) and "__main__" not in name:
            # What cannot be imported is the program's matter, not ours.
            with suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child would copy it all to look for garbage


def _serve(control: socket.socket) -> tuple[str, list[str]] | None:
    """Fork a child for each request until the tests have gone.

    :returns: in a child, what it has to run
    """
    running: dict[int, tuple[int, socket.socket]] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            if key.fileobj is not control:
                pid, status = running.pop(key.fd)
                _pid, code = os.waitpid(pid, 0)
                with status, suppress(OSError):  # nobody may want to know
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
    """Make a child what it would be had it been started by itself."""
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
    """End as an interpreter does, without clearing all modules at last.

    Returns if there is more to do than that.
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
