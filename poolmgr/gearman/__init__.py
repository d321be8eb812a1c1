"""A Gearman transport: worker, client, admin client and a job server.

It knows nothing of pools or clouds and can be used by itself.

* :class:`Worker` takes jobs from several job servers at once and gives each
  as an :class:`Assignment` to a function.
* :class:`Client` submits jobs and waits for their answers.
* :mod:`poolmgr.gearman.admin` asks a job server how it is.
* :class:`poolmgr.gearman.server.JobServer` is a job server for
  demonstrations and tests.

The protocol is that of https://gearman.org/protocol/.
"""

from poolmgr.gearman import admin
from poolmgr.gearman.address import Address
from poolmgr.gearman.assignment import Assignment, Delivery
from poolmgr.gearman.client import Client, SubmittedJob
from poolmgr.gearman.options import LinkOptions
from poolmgr.gearman.station import LinkStatus
from poolmgr.gearman.tls import client_context
from poolmgr.gearman.worker import Room, Worker

__all__ = [
    "Address",
    "Assignment",
    "Client",
    "Delivery",
    "LinkOptions",
    "LinkStatus",
    "Room",
    "SubmittedJob",
    "Worker",
    "admin",
    "client_context",
]
