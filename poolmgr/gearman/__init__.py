"""A Gearman transport on asyncio and the standard library.

- :mod:`~poolmgr.gearman.worker`: takes jobs from many job servers
- :mod:`~poolmgr.gearman.client`: submits jobs and waits for their answers
- :mod:`~poolmgr.gearman.admin`: asks a job server how it is
- :mod:`~poolmgr.gearman.server`: a job server for demonstrations and tests
- :mod:`~poolmgr.gearman.protocol`: the packets, for whoever needs them
- :mod:`~poolmgr.gearman.tls`: what to verify a job server with

It knows nothing of pools and clouds.
"""

from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment, Delivery
from poolmgr.gearman.client import (
    Client,
    JobFailed,
    JobTimeout,
    SubmittedJob,
)
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.protocol import ProtocolError
from poolmgr.gearman.station import LinkStatus
from poolmgr.gearman.tls import client_context
from poolmgr.gearman.worker import Room, Worker

__all__ = [
    "Address",
    "Assignment",
    "Client",
    "Delivery",
    "JobFailed",
    "JobTimeout",
    "LinkOptions",
    "LinkStatus",
    "ProtocolError",
    "Room",
    "SubmittedJob",
    "Worker",
    "client_context",
]
