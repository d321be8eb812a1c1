"""Deleting a server until it is known to be gone."""

import logging
import time
from dataclasses import dataclass

from poolmgr.cloud.poller import Watch
from poolmgr.drivers.base import Device
from poolmgr.drivers.nova.failures import Unavailable
from poolmgr.drivers.nova.servers import Servers
from poolmgr.errors import CloudError, DeadlineExceeded
from poolmgr.waiting import Deadline

LOG = logging.getLogger(__name__)

#: Seconds that a look may take which only confirms what is known.
_LOOK_TIME = 2.0


@dataclass
class Deletion:
    """Deletes one server.

    Nova's word alone does not do: a server without a cell is listed and
    answers 404 to DELETE, one whose cell is down is in no list, and a new one
    may not be to be seen yet.

    :ivar again: seconds after which it is asked to go once more
    :ivar out_of_sight: seconds that it has to be out of sight if Nova has
        never taken its deletion
    """

    servers: Servers
    watch: Watch
    device: Device
    again: float
    out_of_sight: float
    _accepted: bool = False
    _refused_at: float | None = None
    _missed_at: float | None = None
    _refusal: Unavailable | None = None

    def run(self, deadline: Deadline) -> None:
        """Delete it, and wait until it is gone.

        :raises Unavailable: Nova cannot delete it, and shows it
        :raises DeadlineExceeded: it was still there
        """
        try:
            for _attempt in deadline.retries(f"deleting {self._name}"):
                if self.servers.delete(self.device, deadline):
                    self._accepted = True
                    gone = self._went(deadline)
                else:
                    gone = self._has_gone(deadline)
                if gone:
                    return
                LOG.info("%s is still there", self._name)
        except DeadlineExceeded:
            raise self._refusal or DeadlineExceeded(
                f"deleting {self._name}", deadline.seconds
            ) from None

    @property
    def _name(self) -> str:
        return f"device {self.device.name!r}"

    def _went(self, deadline: Deadline) -> bool:
        """Whether a server is neither listed nor shown any more."""
        if not self.watch.wait_gone(self.device, deadline, self.again):
            return False
        return self.servers.get(self.device.id, deadline) is None

    def _has_gone(self, deadline: Deadline) -> bool:
        """Whether a server that Nova does not know to delete is gone.

        :raises Unavailable: Nova still shows it, after a while
        """
        now = time.monotonic()
        self._refused_at = self._refused_at or now
        if self._is_in_sight(deadline):
            self._missed_at = None
            self._refusal = Unavailable(
                f"Nova answers 404 to the deletion of {self._name} and still "
                "shows it"
            )
            if now - self._refused_at > self.out_of_sight:
                raise self._refusal
            return False
        self._missed_at = self._missed_at or now
        return self._accepted or now - self._missed_at > self.out_of_sight

    def _is_in_sight(self, deadline: Deadline) -> bool:
        """Whether Nova shows the server, or lists it."""
        device = self.device
        if self._accepted:
            # It was to go, and a 404 says that it went.
            seconds = min(_LOOK_TIME, deadline.remaining())
            deadline = Deadline(seconds, deadline.stop, deadline.urgent)
        try:
            return self.servers.get(device.id, deadline) is not None or any(
                listed.id == device.id
                for listed in self.servers.among([device], deadline)
            )
        except (CloudError, DeadlineExceeded):
            if not self._accepted:
                raise
            return False
