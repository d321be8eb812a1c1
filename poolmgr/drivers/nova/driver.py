"""The driver: Nova's servers and Neutron's floating IPs."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from openstack.connection import Connection

from poolmgr.config.permissions import is_exposed, warning
from poolmgr.drivers.base import (
    Device,
    Driver,
    Finding,
    FloatingIP,
    Kind,
    Limits,
    Poll,
)
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.clouds_yaml import secret_files
from poolmgr.drivers.nova.connection import access_by, connect
from poolmgr.drivers.nova.failures import Distrusted
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.limits import Verb, within
from poolmgr.drivers.nova.servers import NO_REASON, NovaDevice, Servers
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.drivers.nova.template import Parts
from poolmgr.errors import CloudError, CloudRefused, CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Seconds between two looks at servers that are waited for, at least.
_POLL_INTERVAL = 0.4


class NovaCloud(Driver):
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
            self._access = access_by(connection, settings)
        self._api = Api(self._access, self, settings.compute_api_version)
        self._parts = Parts(self._api, settings)
        kind = settings.address_type
        metadata = dict(entry.split("=", 1) for entry in settings.metadata)
        if settings.device_floating_ip:
            metadata |= marks.OWN_IP
            # It comes when the device is active, not before.
            kind = "best" if kind == "floating" else kind
        version = int(settings.address_version)
        rule = AddressRule(settings.address_network, version, kind)
        template = self._parts.template
        self._servers = Servers(self._api, template, rule, metadata)
        self._ips = FloatingIPs(self._api, self._parts.external_network)

    def close(self) -> None:
        """Let go of the connections."""
        self._api.close()

    def check(self, timeout: float) -> Sequence[Finding]:
        """See :meth:`Driver.check`.

        :raises CloudUnavailable: the cloud cannot be asked at the moment
        """
        settings, origins = self._settings, self._access.origins
        where = settings.cloud or settings.auth_url or ""
        if not origins.is_given:
            self._warn_of_exposed_secrets()
        try:
            with self._verb(timeout):
                project = self._api.project_id()
                for service in get_args(Service):
                    self._api.find(service)
                version = self._api.compute_version()
                wanted = settings.compute_api_version or ""
                return [
                    Finding("cloud", where, f"project {project}"),
                    Finding("compute_api_version", wanted, version),
                    *self._parts.check(),
                ]
        except CloudUnavailable:
            raise
        except CloudError as error:
            return [Finding("cloud", where, problem=str(error))]

    # -- devices ------------------------------------------------------------

    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """See :meth:`Driver.create_device`."""
        with self._verb(timeout):
            return self._servers.create(name, mark)

    def get_device(self, id: str, timeout: float) -> Device | None:
        """See :meth:`Driver.get_device`."""
        with self._verb(timeout):
            return self._servers.get(id)

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        with self._verb(timeout):
            return self._servers.all()

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        with self._verb(timeout):
            return self._servers.named(names)

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_jobs`."""
        with self._verb(timeout):
            return self._servers.of_jobs(uniques)

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """See :meth:`Driver.poll`."""
        with self._verb(timeout) as verb:
            seen, booting = self._servers.among(devices)
            return Poll(seen, booting, verb.requests)

    def finish_device(self, device: Device, timeout: float) -> Device:
        """Give a device its own floating IP, if it is to have one.

        A change counts when it is read back, for Neutron can lose one.

        :returns: without an address, where it is not in effect yet
        """
        if not (isinstance(device, NovaDevice) and device.own_ip):
            return device
        with self._verb(timeout):
            found = self._ips.of_device(device)
            ip = found[0] if found else self._own_ip(device)
            if ip.device_id != device.id:
                self._ips.attach(ip, device)
                (ip,) = self._ips.at([ip.address]) or [ip]
            is_on = ip.device_id == device.id
            return replace(device, address=ip.address if is_on else None)

    def explain_failure(self, device: Device, timeout: float) -> str:
        """See :meth:`Driver.explain_failure`."""
        fault = device.fault or NO_REASON
        lines = self._settings.console_lines
        console = ""
        try:
            with self._verb(timeout):
                if fault == NO_REASON:
                    # Some clouds show it of a single server only.
                    seen = self._servers.get(device.id)
                    fault = (seen and seen.fault) or fault
                if lines:
                    console = self._servers.console(device, lines)
        except CloudError as error:
            LOG.info("no more of device %s: %s", device.name, error)
        for line in console.splitlines():
            LOG.warning("console of %s: %s", device.name, one_line(line))
        told = f"; its console: {one_line(console)}" if console else ""
        return f"{fault}{told}"

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._verb(timeout):
            self._servers.mark(device, mark)

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        with self._verb(timeout):
            if isinstance(device, NovaDevice) and device.own_ip:
                # First, for afterwards nobody would know whose they were.
                for ip in self._ips.of_device(device):
                    self._ips.delete(ip)
            return self._servers.delete(device)

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        with self._verb(timeout):
            return self._ips.create(mark)

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        with self._verb(timeout):
            return self._ips.all()

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        with self._verb(timeout):
            return self._ips.at(addresses)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`."""
        with self._verb(timeout):
            return self._ips.of_jobs(uniques)

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._verb(timeout):
            self._ips.mark(ip, mark)

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._verb(timeout):
            self._ips.attach(ip, device)

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        with self._verb(timeout):
            self._ips.detach(ip)

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        with self._verb(timeout):
            return self._ips.delete(ip)

    # -- both ---------------------------------------------------------------

    def find_created(
        self, kind: Kind, name: str, mark: Mark, timeout: float
    ) -> Sequence[Device | FloatingIP]:
        """See :meth:`Driver.find_created`."""
        with self._verb(timeout):
            if kind == "device":
                return self._servers.made_for(mark, name)
            return self._ips.made_with(mark)

    # -- inside -------------------------------------------------------------

    @contextmanager
    def _verb(self, timeout: float) -> Iterator[Verb]:
        """Bound the calls of the block, and say what to do about trust."""
        try:
            with within(timeout) as verb:
                yield verb
        except Distrusted as error:
            where = self._access.origins.of("cacert")
            verify = self._access.session.verify
            advice = f"name the file of its authority in {where}"
            if isinstance(verify, str):
                advice = f"it is verified with {one_line(verify)!r} ({where})"
            raise CloudRefused(f"{error}; {advice}") from error

    def _warn_of_exposed_secrets(self) -> None:
        found = []
        if self._settings.keyfile:
            found.append((self._settings.keyfile, "[nova] keyfile"))
        if cloud := self._access.origins.cloud:
            found += secret_files(cloud)
        for path, what in found:
            if is_exposed(path):
                LOG.warning("%s", warning(path, what))

    def _own_ip(self, device: Device) -> FloatingIP:
        mark = device.mark
        if mark is None:
            raise CloudRefused(f"device {device.name!r} bears no mark")
        return self._ips.create(mark.handed_over(), device.id)
