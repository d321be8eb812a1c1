"""A Gearman transport on asyncio and the standard library.

It knows nothing of pools and clouds, so it can be used by itself.

- :mod:`~poolmgr.gearman.worker`: takes jobs from several job servers
- :mod:`~poolmgr.gearman.assignment`: an assigned job, which has to be answered
- :mod:`~poolmgr.gearman.client`: submits jobs and waits for their answers
- :mod:`~poolmgr.gearman.admin`: queries a job server's state
- :mod:`~poolmgr.gearman.server`: a job server for demonstrations and tests
- :mod:`~poolmgr.gearman.connection`: a connection to a job server
- :mod:`~poolmgr.gearman.endpoint`: addresses, options, sockets, TLS
- :mod:`~poolmgr.gearman.protocol`: the packets

The names in ``__all__`` can be imported from here as well.  Their modules are
imported when a name is first used, because most commands need no transport.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers and editors
    from poolmgr.gearman.assignment import Assignment
    from poolmgr.gearman.client import (
        Client,
        JobFailed,
        JobTimeout,
        SubmittedJob,
    )
    from poolmgr.gearman.endpoint import (
        Address,
        ConnectionOptions,
        client_context,
    )
    from poolmgr.gearman.worker import Slots, Worker, WorkerConnection

__all__ = [
    "Address",
    "Assignment",
    "Client",
    "ConnectionOptions",
    "JobFailed",
    "JobTimeout",
    "Slots",
    "SubmittedJob",
    "Worker",
    "WorkerConnection",
    "client_context",
]

_MODULES = {
    "Address": "endpoint",
    "Assignment": "assignment",
    "Client": "client",
    "ConnectionOptions": "endpoint",
    "JobFailed": "client",
    "JobTimeout": "client",
    "Slots": "worker",
    "SubmittedJob": "client",
    "Worker": "worker",
    "WorkerConnection": "worker",
    "client_context": "endpoint",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
