"""A stand-in for Neutron's agents, as a mechanism driver of ML2.

Ports are bound and ACTIVE at once. Floating IPs are reported as an agent of
their router would: ACTIVE with a port, DOWN without.
"""

import os
from pathlib import Path

from neutron.objects.router import FloatingIP
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.callbacks.events import DBEventPayload
from neutron_lib.plugins.ml2 import api

from testcloud.knobs import Knobs

knobs = Knobs(Path(os.environ["TESTCLOUD_DIR"]) / "knobs.json")


class InstantDriver(api.MechanismDriver):
    """The mechanism driver."""

    connectivity = portbindings.CONNECTIVITY_L2

    def initialize(self) -> None:
        """Listen for changed floating IPs."""
        for event in (events.AFTER_CREATE, events.AFTER_UPDATE):
            registry.subscribe(_report, resources.FLOATING_IP, event)

    def bind_port(self, context: api.PortContext) -> None:
        """Bind a port on the first segment."""
        segment = context.segments_to_bind[0]
        context.set_binding(
            segment[api.ID],
            portbindings.VIF_TYPE_OVS,
            {portbindings.CAP_PORT_FILTER: True},
            status=constants.PORT_STATUS_ACTIVE,
        )


def _report(
    resource: str, event: str, trigger: object, payload: DBEventPayload
) -> None:
    """Set a floating IP's status.

    As in a real cloud, the answer to the changing request still shows the old
    status.
    """
    if knobs.get("floating_ip_status") != "agent":
        return
    address = payload.latest_state
    status = (
        constants.FLOATINGIP_STATUS_ACTIVE
        if address["port_id"]
        else constants.FLOATINGIP_STATUS_DOWN
    )
    if address["status"] != status:
        FloatingIP.update_object(
            payload.context.elevated(),
            {"status": status},
            id=payload.resource_id,
        )
