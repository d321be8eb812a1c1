"""The cloud, which waits, retries and limits for every driver.

:class:`Cloud` is for code on an event loop.  :class:`BlockingCloud` has the
same methods for code that blocks.  :func:`open_cloud` is for programs without
a loop.
"""

from poolmgr.cloud.blocking import BlockingCloud, open_cloud
from poolmgr.cloud.cloud import Cloud
from poolmgr.cloud.pace import Pace

__all__ = ["BlockingCloud", "Cloud", "Pace", "open_cloud"]
