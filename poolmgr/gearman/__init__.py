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
from poolmgr.gearman.client import Client
from poolmgr.gearman.connection import ConnectionOptions
from poolmgr.gearman.jobs import (
    AnswerStatus,
    Assignment,
    JobFailed,
    JobTimeout,
    SubmittedJob,
)
from poolmgr.gearman.protocol import ProtocolError
from poolmgr.gearman.tls import client_context
from poolmgr.gearman.worker import ConnectionStatus, Worker
from poolmgr.gearman.worker_connection import Slots

__all__ = [
    "Address",
    "AnswerStatus",
    "Assignment",
    "Client",
    "ConnectionOptions",
    "ConnectionStatus",
    "JobFailed",
    "JobTimeout",
    "ProtocolError",
    "Slots",
    "SubmittedJob",
    "Worker",
    "client_context",
]
