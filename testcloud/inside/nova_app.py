"""All of Nova as one WSGI application: API, conductor, scheduler, compute.

They use the in-process bus of oslo.messaging, and compute uses the database
directly, as in Nova's own functional tests. No RabbitMQ is needed.
"""

import os
import sys
from typing import Any

# Must be first: it reads nova.conf and sets up logging and the bus.
from nova.wsgi.osapi_compute import application

# isort: split
import nova.conf
import os_brick
import os_vif
import uwsgi
from nova import context, objects, service
from nova.compute import rpcapi as compute_rpcapi
from nova.conductor import rpcapi as conductor_rpcapi
from nova.objects import host_mapping
from nova.scheduler import rpcapi as scheduler_rpcapi
from nova.scheduler.client.report import SchedulerReportClient

from testcloud.inside import nova_driver

__all__ = ["application"]

TOPICS = {
    "nova-conductor": [conductor_rpcapi.RPC_TOPIC],
    "nova-scheduler": [scheduler_rpcapi.RPC_TOPIC],
    "nova-compute": [
        compute_rpcapi.RPC_TOPIC,
        compute_rpcapi.RPC_TOPIC_ALT,
    ],
}


def _no_allocations(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {}


def _start(binary: str) -> service.Service:
    topic, *alternative = TOPICS[binary]
    started = service.Service.create(
        binary=binary,
        topic=topic,
        topic_alt=alternative[0] if alternative else None,
    )
    started.start()
    return started


# Nova only loads drivers from its own package.
sys.modules["nova.virt.testcloud"] = nova_driver
# At every build and deletion, Nova 34 requests the allocations of each server
# on the host from Placement. Only drivers that move inventory between
# providers need them, and this one does not.
SchedulerReportClient.get_allocations_for_provider_tree = _no_allocations

objects.register_all()
os_brick.setup(nova.conf.CONF)
os_vif.initialize()
services = [_start(binary) for binary in TOPICS]
# A host gets no servers before it is mapped to a cell.
host_mapping.discover_hosts(context.get_admin_context())
# uWSGI would wait forever for the services' threads.
uwsgi.atexit = lambda: os._exit(0)
