"""The driver: Nova's servers and Neutron's floating IPs."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

from openstack.connection import Connection

from poolmgr.drivers.base import Device, Finding, Limits
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call
from poolmgr.drivers.nova.credentials import Origin, connect, secret_files
from poolmgr.drivers.nova.devices import NovaDevice
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.parts import Parts
from poolmgr.drivers.nova.servers import Servers
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudError, CloudUnavailable
from poolmgr.text import one_line
from poolmgr.text.secrecy import exposure

LOG = logging.getLogger(__name__)

#: Seconds between two looks at servers that are waited for, at least.
_POLL_INTERVAL = 0.4


class NovaCloud(Servers, FloatingIPs):
    """OpenStack: servers of Nova, floating IPs of Neutron.

    :param settings: the group ``[nova]``
    :param connection: a connection to use and not to close; the credentials
        in the settings are not looked at then. For a session of
        keystoneauth: :func:`poolmgr.drivers.nova.connection_of`.
    :raises ConfigError: there are no credentials, or they do not fit together
    """

    Settings = NovaSettings

    def __init__(
        self, settings: NovaSettings, connection: Connection | None = None
    ) -> None:
        self.settings = settings
        self.image = settings.image
        self.limits = Limits(
            calls_at_once=settings.calls_at_once,
            calls_per_second=settings.calls_per_second,
            call_timeout=settings.call_timeout,
            poll_interval=_POLL_INTERVAL,
        )
        self._origin = Origin(settings, is_given=connection is not None)
        if connection is None:
            session, region = connect(self._origin)
        else:
            session, region = connection.session, connection.config
        self.api = Api(session, region, self._origin, self)
        self.parts = Parts(self.api, settings)
        self.zones = cycle(settings.availability_zones or [""])

    def close(self) -> None:
        """Let go of the connections."""
        self.api.close()

    def check(self, timeout: float) -> Sequence[Finding]:
        """See :meth:`Driver.check`.

        :raises CloudUnavailable: the cloud cannot be asked at the moment
        """
        for path, what in secret_files(self._origin):
            if said := exposure(path, what):
                LOG.warning("%s", one_line(said))
        where = self.settings.cloud or self.settings.auth_url or ""
        wanted = self.settings.compute_api_version or ""
        try:
            project = self.api.project_id(timeout)
            # A cheap call agrees on the microversion.
            cheap = Call("GET", "compute", "/flavors", expects="flavors")
            self.api.run(cheap, timeout)
            return [
                Finding("cloud", where, f"project {project}"),
                Finding("compute_api_version", wanted, self.api.microversion),
                *self.parts.check(timeout),
            ]
        except CloudUnavailable:
            raise
        except CloudError as error:
            return [Finding("cloud", where, problem=str(error))]

    def finish_device(self, device: Device, timeout: float) -> Device:
        """Give a device its own floating IP, if it is to have one.

        A change counts when it is read back, for Neutron can lose one.

        :returns: without an address, where it is not in effect yet
        """
        has_own = isinstance(device, NovaDevice) and device.own_ip
        if not has_own or device.mark is None:
            return device
        if found := self.ips_of_device(device, timeout):
            ip = found[0]
        else:
            mark = device.mark.handed_over()
            ip = self.create_ip(mark, timeout, device.id)
        if ip.device_id != device.id:
            self.attach_ip(ip, device, timeout)
            # One that is new may not be to be seen yet.
            (ip,) = self.find_ips([ip.address], timeout) or [ip]
        is_on = ip.device_id == device.id
        return replace(device, address=ip.address if is_on else None)

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        if isinstance(device, NovaDevice) and device.own_ip:
            # First, for afterwards nobody would know whose they were.
            for ip in self.ips_of_device(device, timeout):
                self.delete_ip(ip, timeout)
        return super().delete_device(device, timeout)
