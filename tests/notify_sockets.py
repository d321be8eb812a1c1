"""A notification socket like systemd's."""

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import TIMEOUT


class NotifySocket:
    """Receives messages to a service manager.

    :ivar name: the value for ``NOTIFY_SOCKET``
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1))

    def next(self, timeout: float = TIMEOUT) -> list[str]:
        """Return the lines of the next message; empty after a time-out."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(65536).decode().split("\n")
        except TimeoutError:
            return []

    def wait_for(self, line: str) -> list[list[str]]:
        """Return all messages up to and including one with such a line."""
        messages = []
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            messages.append(self.next())
            if any(line in each for each in messages[-1]):
                return messages
        raise AssertionError(f"no {line!r} in ... {messages[-3:]}")

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@contextmanager
def notify_socket(folder: Path | None = None) -> Iterator[NotifySocket]:
    """Yield a socket.

    :param folder: its folder; None: an abstract socket
    """
    unique = secrets.token_hex(8)
    name = str(folder / "notify") if folder else f"@poolmgr-{unique}"
    running = NotifySocket(name)
    try:
        yield running
    finally:
        running.close()
