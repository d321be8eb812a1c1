"""The driver: Nova's servers and Neutron's floating IPs."""

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

from keystoneauth1.session import Session
from openstack.connection import Connection

from poolmgr.drivers.base import Device, Finding, Limits
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.credentials import connect
from poolmgr.drivers.nova.devices import NovaDevice
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.resources import ConfiguredResources
from poolmgr.drivers.nova.servers import Servers
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import CloudError, CloudUnavailable
from poolmgr.text import one_line
from poolmgr.text.secrecy import exposure

LOG = logging.getLogger(__name__)

#: Minimum pause between two polls of booting servers, in seconds. A build
#: ends half of it late on average; its polls are one or two requests.
_POLL_INTERVAL = 0.4


def connection_of(session: Session) -> Connection:
    """Return a connection that uses a session of keystoneauth."""
    version = importlib.metadata.version("poolmgr")
    return Connection(session=session, app_name="poolmgr", app_version=version)


class NovaCloud(Servers, FloatingIPs):
    """OpenStack: servers of Nova, floating IPs of Neutron.

    :param settings: the group ``[nova]``
    :param connection: a connection to use; it is not closed, and the
        credentials in the settings are ignored. For a session of
        keystoneauth, use :func:`poolmgr.drivers.nova.connection_of`.
    :raises ConfigError: there are no credentials, or they are incomplete
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
        account = connect(settings, connection)
        self._secret_files = account.secret_files
        self.api = Api(account, settings, self)
        self.resources = ConfiguredResources(self.api, settings)
        # Threads can share it: next() of a cycle is atomic.
        self.zones = cycle(settings.availability_zones or [""])

    def close(self) -> None:
        """See :meth:`Driver.close`."""
        self.api.close()

    def check(self, timeout: float) -> Sequence[Finding]:
        """See :meth:`Driver.check`.

        :raises CloudUnavailable: the cloud does not work at the moment
        """
        for path, secret in self._secret_files:
            if warning := exposure(path, secret):
                LOG.warning("%s", one_line(warning))
        where = self.settings.cloud or self.settings.auth_url or ""
        wanted = self.settings.compute_api_version or ""
        try:
            project = self.api.login.project_id(timeout)
            # Before the findings, because these calls find the microversion.
            resources = [*self.resources.check(timeout)]
            return [
                Finding("cloud", where, f"project {project}"),
                Finding("compute_api_version", wanted, self.api.microversion),
                *resources,
            ]
        except CloudUnavailable:
            raise
        except CloudError as error:
            return [Finding("cloud", where, problem=str(error))]

    def finish_device(self, device: Device, timeout: float) -> Device:
        """Give a device its own floating IP, if it is to have one.

        Neutron can lose a change, so the address counts only when it has been
        read back.

        :returns: the device, without an address if it is not in effect yet
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
            # Neutron may not list a new one yet.
            found = self.find_ips([ip.address], timeout)
            ip = next((each for each in found if each.id == ip.id), ip)
        is_on = ip.device_id == device.id
        return replace(device, address=ip.address if is_on else None)

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        if isinstance(device, NovaDevice) and device.own_ip:
            # First, because nobody would know its addresses afterwards.
            for ip in self.ips_of_device(device, timeout):
                self.delete_ip(ip, timeout)
        return super().delete_device(device, timeout)
