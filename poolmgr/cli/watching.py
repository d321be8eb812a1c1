"""The status page, the metrics and the health of a worker's process."""

import socket
from typing import TYPE_CHECKING

from poolmgr.config.job_servers import addresses, connection_options
from poolmgr.config.options import Configuration
from poolmgr.events import Observer
from poolmgr.worker.service import Service

if TYPE_CHECKING:
    from poolmgr.monitoring.history import Statistics


class Watching:
    """The monitoring of a worker, if it is enabled.

    Without it none of its libraries is loaded.

    :ivar observer: counts what happens; None if monitoring is not enabled
    """

    def __init__(self, conf: Configuration) -> None:
        self._conf = conf
        self._settings = conf.monitoring()
        self._statistics: Statistics | None = None
        if self._settings.enabled:
            from poolmgr.monitoring import history

            self._statistics = history.Statistics()
        self.observer: Observer | None = self._statistics

    def serve(self, service: Service) -> None:
        """Serve the pages until the process ends."""
        if self._statistics is None:
            return
        from poolmgr.monitoring.queues import Queues
        from poolmgr.monitoring.server import Pages, serve

        gearman = self._conf.gearman()
        function = service.settings.function
        queues = Queues(
            addresses(gearman), connection_options(gearman), function
        )
        hosts = [socket.gethostname(), *self._settings.hosts]
        serve(self._settings, Pages(service, self._statistics, queues, hosts))
