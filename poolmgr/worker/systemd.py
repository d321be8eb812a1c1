"""Notifications to systemd, or another service manager that speaks sd_notify.

The protocol is a datagram of lines, and no package is better than these few
lines: sdnotify has had no release since 2017, systemd-python and cysystemd
are compiled against libsystemd, and oslo.service's module comes with a
framework for processes.
"""

import asyncio
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from poolmgr.worker.service import Service

#: Seconds after which a worker counts as started, even if it has reached no
#: job server.  It reconnects by itself, so a restart would not help.
START_GRACE = 10.0

#: Seconds between two notifications at most, and before the worker is ready.
_INTERVAL = 5.0
_STARTING_INTERVAL = 0.1
#: Seconds by which a draining worker extends its stop timeout each time.
_EXTENSION = 30.0


class Notifier:
    """Sends the state of a worker to the service manager.

    It runs on the worker's event loop, so that a loop that hangs triggers the
    watchdog.  It never blocks: a notification that the manager does not read
    is lost, and the next one repeats what matters.

    :param environment: has systemd's ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``
    :ivar interval: seconds between two notifications
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.interval = _INTERVAL
        watchdog = environment.get("WATCHDOG_USEC", "")
        if watchdog.isdecimal() and int(watchdog):
            # Three notifications in the time in which systemd expects one.
            self.interval = min(_INTERVAL, int(watchdog) / 3e6)
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._ready = False

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``."""
        # systemd has other kinds of sockets for virtual machines.
        if self._address.startswith(("/", "@")):
            # "@" stands for the NUL of an abstract socket.
            address = re.sub("^@", "\0", self._address)
            kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
            with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as to:
                to.sendto("\n".join(lines).encode(), address)

    def starting(self, seconds: float) -> None:
        """Announce that the settings are checked against the cloud.

        :param seconds: the longest time that this takes
        """
        self.send(
            "STATUS=checking the settings",
            _extension(seconds + START_GRACE + _EXTENSION),
        )

    def stopping(self) -> None:
        """Announce that the worker drains."""
        self._ready = False
        self.send("STOPPING=1", _extension())

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Announce that the block reloads the configuration."""
        if self._ready:
            # Type=notify-reload requires the time.
            now = time.monotonic_ns() // 1000
            self.send("RELOADING=1", f"MONOTONIC_USEC={now}")
        yield
        if self._ready:
            self.send("READY=1")

    async def watch(self, service: Service) -> None:
        """Send the state of a worker again and again, until cancelled."""
        ready_at = time.monotonic() + START_GRACE
        while True:
            lines = ["WATCHDOG=1", f"STATUS={service.status}"]
            pause = self.interval
            if service.draining:
                lines.append(_extension())
            elif service.servers_up or time.monotonic() >= ready_at:
                self._ready = True
            if self._ready:
                lines.append("READY=1")
            elif not service.draining:
                pause = min(pause, _STARTING_INTERVAL)
            self.send(*lines)
            await asyncio.sleep(pause)


def _extension(seconds: float = _EXTENSION) -> str:
    return f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"
