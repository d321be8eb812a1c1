"""Pool Manager of Libra, the OpenStack load-balancer service.

As a library::

    from poolmgr import PoolManager

    with PoolManager(driver="fake") as manager:
        answer = manager.run({"action": "BUILD_DEVICE"})

The rest of poolmgr is imported when a name of this module is first used.
"""

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers and editors
    from poolmgr.errors import PoolmgrError
    from poolmgr.events import Observer
    from poolmgr.jobs.manager import AsyncPoolManager
    from poolmgr.jobs.pool_manager import PoolManager
    from poolmgr.ownership import Job
    from poolmgr.settings import PoolSettings

    __version__: str

__all__ = [
    "AsyncPoolManager",
    "Job",
    "Observer",
    "PoolManager",
    "PoolSettings",
    "PoolmgrError",
    "__version__",
]

_MODULES = {
    "AsyncPoolManager": "poolmgr.jobs.manager",
    "Job": "poolmgr.ownership",
    "Observer": "poolmgr.events",
    "PoolManager": "poolmgr.jobs.pool_manager",
    "PoolSettings": "poolmgr.settings",
    "PoolmgrError": "poolmgr.errors",
}

# Without it, warnings would be printed if logging is not configured.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
