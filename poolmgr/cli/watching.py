"""The status page, the metrics and the health of a worker's process."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from poolmgr.config.job_servers import addresses, link_options
from poolmgr.config.options import Configuration
from poolmgr.events import Observer
from poolmgr.worker.state import State

if TYPE_CHECKING:
    from poolmgr.monitoring.tally import Tally


class Watching:
    """What looks on, if it is configured that anybody does.

    :ivar observer: to be told of what happens; None if nobody looks on
    """

    def __init__(self, conf: Configuration) -> None:
        self._conf = conf
        self._settings = conf.monitoring()
        self._tally: Tally | None = None
        if self._settings.enabled:
            from poolmgr.monitoring import tally

            self._tally = tally.Tally()
        self.observer: Observer | None = self._tally

    def serving(self, state: State) -> AbstractContextManager[None]:
        """Serve the pages while the block runs."""
        if self._tally is None:
            return nullcontext()
        from poolmgr.monitoring.monitoring import serving
        from poolmgr.monitoring.queues import Queues
        from poolmgr.monitoring.site import Site

        gearman = self._conf.gearman()
        function = state.settings.function
        queues = Queues(addresses(gearman), link_options(gearman), function)
        return serving(self._settings, Site(state, self._tally, queues))
