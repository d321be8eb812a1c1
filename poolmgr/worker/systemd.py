"""Telling a service manager how the process is, as systemd is told.

The protocol is a datagram of lines, so it is done here: of the packages that
do it, sdnotify has had no release since 2017 and raises no error and reports
none, systemd-python and cysystemd are compiled against libsystemd, and that
of oslo.service comes with a framework for processes.
"""

import asyncio
import os
import re
import socket
import time
from collections.abc import Mapping

from poolmgr.worker.service import Service

#: Seconds that a worker without a job server waits for one before it counts
#: as started.  For ever would hold up the machine's boot, or have the worker
#: killed and started again, for what it will get over by itself.
GRACE = 10.0

#: Seconds between two messages, at the most; and until it has started.
_INTERVAL = 5.0
_STARTING_INTERVAL = 0.1
#: Seconds that the manager is asked to add while the worker drains.
_EXTENSION = 30.0


class Notifier:
    """Tells a service manager that a worker is ready, alive, busy, draining.

    All of it is done on the worker's loop, so one that hangs gives no sign of
    life.  It never waits: a manager that does not read must not stop the
    process.  So a message may be lost.

    :param environment: as systemd sets it: ``NOTIFY_SOCKET``, a path, or a
        name that begins with ``@`` for an abstract one; ``WATCHDOG_USEC`` and
        ``WATCHDOG_PID``
    :ivar watchdog: seconds within which the manager wants a sign of life;
        None when it wants none
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.watchdog = _watchdog(environment)
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._ready = False

    def send(self, *lines: str) -> bool:
        """Send assignments, as ``READY=1``.

        :returns: whether the manager's socket has taken them
        """
        # There are others than Unix sockets, for virtual machines.
        if not self._address.startswith(("/", "@")):
            return False
        address = re.sub("^@", "\0", self._address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto("\n".join(lines).encode(), address)
            except OSError:
                return False
        return True

    def starting(self, seconds: float) -> None:
        """The worker checks its settings against the cloud.

        :param seconds: that this may take
        """
        self.send(
            "STATUS=checking the settings",
            _extension(seconds + GRACE + _EXTENSION),
        )

    def stopping(self) -> None:
        """The worker drains from now on."""
        self._ready = False
        self.send("STOPPING=1", _extension())

    def reloading(self) -> None:
        """The configuration is going to be read again."""
        if self._ready:
            now = time.monotonic_ns() // 1000
            self.send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def reloaded(self) -> None:
        """The configuration was read again."""
        if self._ready:
            # If it is not taken, it is repeated.
            self._ready = self.send("READY=1")

    async def watch(self, service: Service) -> None:
        """Tell how a service is, until cancelled."""
        if not self._address:
            return
        began = time.monotonic()
        longest = min(_INTERVAL, (self.watchdog or 3600.0) / 3)
        while True:
            lines = ["WATCHDOG=1", f"STATUS={status(service)}"]
            pause = longest
            if service.draining:
                lines.append(_extension())
            elif not self._ready:
                pause = min(longest, _STARTING_INTERVAL)
                if _servers_up(service) or time.monotonic() - began >= GRACE:
                    lines.append("READY=1")
            taken = self.send(*lines)
            self._ready = self._ready or (taken and "READY=1" in lines)
            await asyncio.sleep(pause)


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds, if they are meant for this process and make sense."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    micros = int(text) if text.isascii() and text.isdigit() else 0
    return micros / 1e6 or None


def status(service: Service) -> str:
    """How a worker is, in a line for a person."""
    slots, settings = service.slots, service.settings
    said = [
        "draining" if service.draining else "",
        f"{slots.long} of {settings.long_jobs} builds",
        f"{slots.short} of {settings.short_jobs} short jobs running",
        f"{slots.held} builds waiting" if slots.held else "",
        f"{_servers_up(service)} of {len(service.connections)} job servers",
    ]
    return ", ".join(filter(None, said))


def _servers_up(service: Service) -> int:
    return sum(each.state == "up" for each in service.connections)


def _extension(seconds: float = _EXTENSION) -> str:
    return f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"
