"""A Gearman transport on asyncio and the standard library.

- :mod:`~poolmgr.gearman.worker`: takes jobs from many job servers
- :mod:`~poolmgr.gearman.assignment`: a job that was assigned, and its answer
- :mod:`~poolmgr.gearman.client`: submits jobs and waits for their answers
- :mod:`~poolmgr.gearman.admin`: asks a job server how it is
- :mod:`~poolmgr.gearman.server`: a job server for demonstrations and tests
- :mod:`~poolmgr.gearman.connection`: what all but the server connect by
- :mod:`~poolmgr.gearman.endpoint`: addresses, options, sockets, TLS
- :mod:`~poolmgr.gearman.protocol`: the packets

It knows nothing of pools and clouds.
"""

from poolmgr.gearman.assignment import Assignment, Slots
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
from poolmgr.gearman.worker import Worker, WorkerConnection

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
