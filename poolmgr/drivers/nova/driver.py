"""The driver: Nova's servers and Neutron's floating IPs."""

import functools
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from poolmgr.cloud.limiter import Gate
from poolmgr.cloud.lookups import Batch
from poolmgr.cloud.poller import Watch
from poolmgr.drivers.base import (
    Device,
    Driver,
    DriverState,
    Finding,
    FloatingIP,
)
from poolmgr.drivers.nova import marks
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.blueprint import Blueprint
from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.connection import connect, on_transport
from poolmgr.drivers.nova.deletion import Deletion
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.origins import Origins
from poolmgr.drivers.nova.secret_files import secret_files
from poolmgr.drivers.nova.servers import (
    NO_REASON,
    NovaDevice,
    Servers,
    completed,
)
from poolmgr.drivers.nova.settings import NovaSettings
from poolmgr.errors import (
    Changed,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
)
from poolmgr.events import Observer
from poolmgr.ownership import Mark
from poolmgr.secrecy import exposure, is_exposed
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

if TYPE_CHECKING:
    from openstack.connection import Connection

LOG = logging.getLogger(__name__)

#: Seconds between two looks at servers that are waited for, at least.
_INTERVAL = 0.4
#: Servers that Nova lists in one call, where nobody has changed its max_limit.
_PAGE = 1000
#: Seconds after which a server that is still there is deleted once more.
_DELETE_AGAIN = 15.0
#: Seconds that a server has to be out of sight before it counts as gone,
#: unless Nova took its deletion: a new one may not be to be seen everywhere
#: yet, and lists lack those of a cell that is down.
_OUT_OF_SIGHT = 10.0
#: Seconds that finding out why a device failed may take.
_POST_MORTEM = 10.0


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
        self,
        settings: NovaSettings,
        connection: "Connection | None" = None,
    ) -> None:
        self._settings = settings
        self.image = settings.image
        gate = Gate(settings.calls_at_once, settings.calls_per_second)
        self._is_callers = connection is not None
        if connection is None:
            connection = connect(settings)
        else:
            connection = on_transport(connection, settings.calls_at_once)
        self._api = Api(
            connection,
            gate,
            settings.call_timeout,
            Origins(settings, self._is_callers),
            settings.compute_api_version,
        )
        blueprint = Blueprint(self._api, settings)
        rule = AddressRule(
            settings.address_network,
            int(settings.address_version),
            settings.address_type,
        )
        extra = dict(entry.split("=", 1) for entry in settings.metadata)
        if settings.device_floating_ip:
            extra |= marks.OWN_IP
            if rule.kind == "floating":
                # It comes when the device is ready, not before.
                rule = replace(rule, kind="best")
        self._blueprint = blueprint
        self._servers = Servers(self._api, blueprint, rule, extra)
        self._ips = FloatingIPs(self._api, blueprint)
        # Who asks while a question is under way is answered by the next.
        nova, neutron = (
            functools.partial(self._api.trouble, service)
            for service in ("compute", "network")
        )
        self._by_name = Batch(self._servers.named, nova)
        self._by_job = Batch(self._servers.of_jobs, nova)
        self._ip_at = Batch(self._ips.at, neutron)
        self._ips_by_job = Batch(self._ips.of_jobs, neutron)
        self._watch = Watch(
            self._look, _INTERVAL, self._confirm, _PAGE, _OUT_OF_SIGHT
        )

    def close(self) -> None:
        """Let go of the connections and the watch's thread."""
        self._watch.close()
        self._api.close()

    @property
    def is_down(self) -> bool:
        """See :attr:`Driver.is_down`."""
        return self._api.is_down

    @property
    def state(self) -> DriverState:
        """See :attr:`Driver.state`."""
        watch = self._watch
        return DriverState(
            self._api.breakers, watch.waiting, watch.age, self._api.overdue
        )

    def try_again(self) -> None:
        """See :meth:`Driver.try_again`."""
        self._api.try_again()

    def observe(self, observer: Observer) -> None:
        """See :meth:`Driver.observe`."""
        self._api.observer = observer

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """See :meth:`Driver.check`."""
        where = self._settings.cloud or self._settings.auth_url or ""
        if not self._is_callers:
            self._warn_of_exposed_secrets()
        try:
            project = self._api.project_id(deadline)
            for service in get_args(Service):
                self._api.find(service, deadline)
            version = self._api.compute_version(deadline)
            wanted = self._settings.compute_api_version or ""
            found = [
                Finding("cloud", where, f"project {project}"),
                Finding("compute_api_version", wanted, version),
            ]
            found.extend(self._blueprint.check(deadline))
        except CloudError as error:
            return [Finding("cloud", where, problem=str(error))]
        return found

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark, deadline: Deadline
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        return self._servers.create(name, mark, deadline)

    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        """See :meth:`Driver.wait_for_device`."""
        try:
            ready = self._watch.wait(device, deadline)
        except DeviceFailed as error:
            raise self._explained(device, error) from None
        if isinstance(ready, NovaDevice) and ready.own_ip:
            return self._with_floating_ip(ready, deadline)
        return ready

    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        return self._servers.all(deadline)

    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        return self._by_name.get(name, deadline, f"looking for {name!r}")

    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_job`."""
        doing = "looking for what the job has made"
        return self._by_job.get(unique, deadline, doing)

    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.mark_device`."""
        self._servers.mark(device, mark, deadline)

    def delete_device(self, device: Device, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_device`."""
        if isinstance(device, NovaDevice) and device.own_ip:
            # First, for afterwards nobody would know whose they were.
            for ip in self._ips.of_device(device, deadline):
                self._ips.delete(ip, deadline)
        Deletion(
            self._servers,
            self._watch,
            device,
            again=_DELETE_AGAIN,
            out_of_sight=_OUT_OF_SIGHT,
        ).run(deadline)

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark, deadline: Deadline) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        return self._ips.create(mark, deadline)

    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._ips.all(deadline)

    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        """See :meth:`Driver.find_ip`."""
        doing = f"looking for floating IP {address}"
        found = self._ip_at.get(address, deadline, doing)
        return found[0] if found else None

    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_job`."""
        doing = "looking for what the job has made"
        return self._ips_by_job.get(unique, deadline, doing)

    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        """See :meth:`Driver.device_of_ip`."""
        if ip.device_id is None:
            return None
        return self._servers.get(ip.device_id, deadline)

    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """See :meth:`Driver.mark_ip`."""
        self._ips.mark(ip, mark, deadline)

    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        self._ips.attach(ip, device, deadline)

    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.detach_ip`."""
        self._ips.detach(ip, deadline)

    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_ip`."""
        self._ips.delete(ip, deadline)

    # -- inside -------------------------------------------------------------

    def _warn_of_exposed_secrets(self) -> None:
        cloud = Origins(self._settings).cloud
        for path, what in secret_files(self._settings, cloud):
            if is_exposed(path):
                LOG.warning("%s", exposure(one_line(path), one_line(what)))

    def _look(self, devices: Collection[Device]) -> list[Device]:
        # Urgent: hundreds wait for it, and it is one call.
        deadline = Deadline(self._settings.call_timeout, urgent=True)
        return list(self._servers.among(devices, deadline))

    def _confirm(self, device: Device) -> Device | None:
        deadline = Deadline(self._settings.call_timeout, urgent=True)
        found = self._servers.get(device.id, deadline)
        return completed(found, device) if found else None

    def _explained(self, device: Device, error: DeviceFailed) -> DeviceFailed:
        """The error, with all that Nova tells of it."""
        if error.fault == NO_REASON:
            # Some clouds show it of a single server only.
            try:
                seen = self._servers.get(device.id, Deadline(_POST_MORTEM))
            except PoolmgrError as refused:
                LOG.info("no reason of device %s: %s", device.name, refused)
            else:
                if seen is not None and seen.fault:
                    error = DeviceFailed(error.name, seen.fault)
        return self._with_console(device, error)

    def _with_console(
        self, device: Device, error: DeviceFailed
    ) -> DeviceFailed:
        """The error, with the end of the console if that is wanted."""
        lines = self._settings.console_lines
        if not lines:
            return error
        try:
            deadline = Deadline(_POST_MORTEM)
            console = self._servers.console(device, lines, deadline)
        except PoolmgrError as refused:
            LOG.info("no console of device %s: %s", device.name, refused)
            return error
        for line in console.splitlines():
            LOG.warning("console of %s: %s", device.name, one_line(line))
        return DeviceFailed(
            error.name, f"{error.fault}; its console: {one_line(console)}"
        )

    def _with_floating_ip(self, device: Device, deadline: Deadline) -> Device:
        """Give a device its own floating IP, unless it has one already."""
        doing = f"giving device {device.name!r} its floating IP"
        found = self._ips.of_device(device, deadline)
        ip = found[0] if found else self._new_ip_for(device, deadline)
        # Neutron can lose a change; it counts once it is read back.
        for _attempt in deadline.retries(doing):
            if ip.device_id == device.id:
                break
            try:
                self._ips.attach(ip, device, deadline)
            except (Changed, CloudUnavailable) as error:
                LOG.info("%s: %s; trying again", doing, error)
            # One that is new may not be to be seen yet.
            ip = self.find_ip(ip.address, deadline) or ip
        return replace(device, address=ip.address)

    def _new_ip_for(self, device: Device, deadline: Deadline) -> FloatingIP:
        mark = device.mark
        if mark is None:
            raise CloudRefused(f"device {device.name!r} bears no mark")
        return self._ips.create(mark.handed_over(), deadline, device.id)
