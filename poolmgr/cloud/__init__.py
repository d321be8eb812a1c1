"""The cloud as the rest of poolmgr sees it: everything that waits is here.

:class:`Cloud` is for code on the loop, :class:`BlockingCloud` the same for
code that blocks, and :func:`open_cloud` for programs that have no loop.
"""

from poolmgr.cloud.blocking import BlockingCloud, open_cloud
from poolmgr.cloud.cloud import Cloud
from poolmgr.cloud.pace import Pace

__all__ = ["BlockingCloud", "Cloud", "Pace", "open_cloud"]
