"""Telling a service manager how the process is, as systemd is told.

The protocol is a datagram of lines, so it is done here: of the packages that
do it, sdnotify has had no release since 2017 and raises no error and reports
none, systemd-python and cysystemd are compiled against libsystemd, and that
of oslo.service comes with a framework for processes.
"""

import os
import socket
from collections.abc import Mapping
from typing import Self


class Notifier:
    """Sends what a service manager wants to know.

    It never waits: a manager that does not read must not stop the process.
    So a message may be lost, and :meth:`send` says whether it was.

    :param address: of its socket: a path, or a name that begins with ``@``
        for an abstract one
    :param watchdog: seconds within which it wants a sign of life; None when
        it wants none
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._address = address
        self.watchdog = watchdog
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """The one that the environment names; None when there is none.

        :param environment: as systemd sets it: ``NOTIFY_SOCKET``,
            ``WATCHDOG_USEC`` and ``WATCHDOG_PID``
        """
        address = environment.get("NOTIFY_SOCKET", "")
        # There are others than Unix sockets, for virtual machines.
        if not address.startswith(("/", "@")):
            return None
        return cls(address, _watchdog(environment))

    def send(self, *lines: str) -> bool:
        """Send assignments, as ``READY=1``; from any thread.

        :returns: whether the manager's socket has taken them
        """
        message = "\n".join(lines).encode()
        try:
            self._socket.sendto(message, self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds, if they are meant for this process and make sense."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    micros = int(text) if text.isascii() and text.isdigit() else 0
    return micros / 1e6 or None
