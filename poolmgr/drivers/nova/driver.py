"""The driver: Nova's servers and Neutron's floating IPs."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from openstack.connection import Connection

from poolmgr.drivers.base import Device, Finding, FloatingIP, Kind, Limits
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.clouds_yaml import secret_files
from poolmgr.drivers.nova.connection import access_from, connect
from poolmgr.drivers.nova.devices import NO_REASON, NovaDevice
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.limits import bounded
from poolmgr.drivers.nova.servers import Servers
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.template import Parts
from poolmgr.errors import CloudError, CloudRefused, CloudUnavailable
from poolmgr.ownership import Mark
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
        self._settings = settings
        self.image = settings.image
        self.limits = Limits(
            calls_at_once=settings.calls_at_once,
            calls_per_second=settings.calls_per_second,
            call_timeout=settings.call_timeout,
            poll_interval=_POLL_INTERVAL,
        )
        if connection is None:
            self._access = connect(settings)
        else:
            self._access = access_from(connection, settings)
        self.api = Api(self._access, self, settings.compute_api_version)
        self._parts = Parts(self.api, settings)
        self.template = self._parts.template
        self.external_network = self._parts.external_network
        self.metadata = dict(e.split("=", 1) for e in settings.metadata)
        kind = settings.address_type
        if settings.device_floating_ip:
            self.metadata |= marks.OWN_IP
            # It comes when the device is active, not before.
            kind = "best" if kind == "floating" else kind
        version = int(settings.address_version)
        self.rule = AddressRule(settings.address_network, version, kind)

    def close(self) -> None:
        """Let go of the connections."""
        self.api.close()

    @bounded
    def check(self, timeout: float) -> Sequence[Finding]:
        """See :meth:`Driver.check`.

        :raises CloudUnavailable: the cloud cannot be asked at the moment
        """
        where = self._settings.cloud or self._settings.auth_url or ""
        wanted = self._settings.compute_api_version or ""
        self._warn_of_exposed_secrets()
        try:
            project = self.api.project_id()
            for service in get_args(Service):
                self.api.require_service(service)
            version = self.api.compute_version()
            return [
                Finding("cloud", where, f"project {project}"),
                Finding("compute_api_version", wanted, version),
                *self._parts.check(),
            ]
        except CloudUnavailable:
            raise
        except CloudError as error:
            return [Finding("cloud", where, problem=str(error))]

    @bounded
    def finish_device(self, device: Device, timeout: float) -> Device:
        """Give a device its own floating IP, if it is to have one.

        A change counts when it is read back, for Neutron can lose one.

        :returns: without an address, where it is not in effect yet
        """
        if not (isinstance(device, NovaDevice) and device.own_ip):
            return device
        found = self.ips_of_device(device)
        ip = found[0] if found else self._own_ip(device)
        if ip.device_id != device.id:
            self.attach(ip, device)
            # One that is new may not be to be seen yet.
            (ip,) = self.ips_at([ip.address]) or [ip]
        is_on = ip.device_id == device.id
        return replace(device, address=ip.address if is_on else None)

    @bounded
    def explain_failure(self, device: Device, timeout: float) -> str:
        """See :meth:`Driver.explain_failure`."""
        fault = device.fault or NO_REASON
        lines = self._settings.console_lines
        console = ""
        try:
            if fault == NO_REASON:
                # Some clouds show it of a single server only.
                seen = self.fetch_server(device.id)
                fault = (seen and seen.fault) or fault
            if lines:
                console = self.console(device, lines)
        except CloudError as error:
            LOG.info("no more of device %s: %s", device.name, error)
        for line in console.splitlines():
            LOG.warning("console of %s: %s", device.name, one_line(line))
        told = f"; its console: {one_line(console)}" if console else ""
        return f"{fault}{told}"

    @bounded
    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        if isinstance(device, NovaDevice) and device.own_ip:
            # First, for afterwards nobody would know whose they were.
            for ip in self.ips_of_device(device):
                self.release(ip)
        return super().delete_device(device, timeout)

    @bounded
    def find_created(
        self, kind: Kind, name: str, mark: Mark, timeout: float
    ) -> Sequence[Device | FloatingIP]:
        """See :meth:`Driver.find_created`."""
        if kind == "device":
            return self.servers_made_for(mark, name)
        return self.ips_made_with(mark)

    # -- inside -------------------------------------------------------------

    def _warn_of_exposed_secrets(self) -> None:
        if self._access.origins.is_given:
            return
        found = []
        if self._settings.keyfile:
            found.append((self._settings.keyfile, "[nova] keyfile"))
        if cloud := self._access.origins.cloud:
            found += secret_files(cloud)
        for path, what in found:
            if said := exposure(path, what):
                LOG.warning("%s", one_line(said))

    def _own_ip(self, device: Device) -> FloatingIP:
        mark = device.mark
        if mark is None:
            raise CloudRefused(f"device {device.name!r} bears no mark")
        return self.allocate(mark.handed_over(), device.id)
