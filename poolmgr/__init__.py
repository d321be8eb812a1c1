"""Pool Manager of Libra, the OpenStack load-balancer service.

As a library::

    from poolmgr import PoolManager

    with PoolManager(driver="fake") as manager:
        answer = manager.run({"action": "BUILD_DEVICE"})

Importing this module imports nothing else; what is used is loaded then.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolmgr.errors import PoolmgrError as PoolmgrError
    from poolmgr.jobs.manager import PoolManager as PoolManager
    from poolmgr.ownership import Job as Job
    from poolmgr.settings import PoolSettings as PoolSettings

_HOMES = {
    "Job": "poolmgr.ownership",
    "PoolManager": "poolmgr.jobs.manager",
    "PoolSettings": "poolmgr.settings",
    "PoolmgrError": "poolmgr.errors",
}
__all__ = ["Job", "PoolManager", "PoolSettings", "PoolmgrError"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
