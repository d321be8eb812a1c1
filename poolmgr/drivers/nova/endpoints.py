"""Where the cloud's services are: what its catalog and the settings say.

No version document is read: the versions that poolmgr speaks have had their
addresses for ten years, and such documents are often wrong, or hidden.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.connection import is_address
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.nova.origins import Origins
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line
from poolmgr.waiting import Deadline

if TYPE_CHECKING:
    from openstack.connection import Connection

_VERSIONS: dict[Service, str] = {
    "compute": "v2.1",
    "network": "v2.0",
    "image": "v2",
}
# The project's id, or what stands for it where a person wrote the address.
_PROJECT = re.compile(r"[0-9a-f]{32}|[%$]\(\w+\)s")
_VERSION = re.compile(r"v[1-9](\.[0-9]+)?")


class Endpoint(NamedTuple):
    """An entry of the catalog."""

    interface: str
    region: str
    url: str


class Endpoints:
    """Finds each service once.

    :param connection: knows the settings; no call has been made yet
    :param login: gets the catalog
    :param origins: where the settings are set
    """

    def __init__(
        self, connection: "Connection", login: Login, origins: Origins
    ) -> None:
        self._connection = connection
        self._login = login
        self._origins = origins
        self._found: dict[Service, str] = {}

    def of(self, service: Service, deadline: Deadline) -> str:
        """A service's address, with the version.

        :raises CloudRefused: there is none
        :raises Unavailable: Keystone cannot be asked
        """
        url = self._found.get(service)
        if url is None:
            with failures.named(f"looking for the service {service}"):
                url = self._given(service) or self._in_catalog(
                    service, deadline
                )
            url = _versioned(service, url)
            self._found[service] = url
        return url

    def told(self, service: Service) -> str:
        """A service's address and where it is set, for messages."""
        where = "the catalog"
        if self._connection.config.get_endpoint(service):
            where = self._origins.of(f"{service}_endpoint_override")
        url = one_line(self._found.get(service, "no address"))
        return f"{url} (the address is from {where})"

    def project_id(self, deadline: Deadline) -> str:
        """The project whose things are ours.

        :raises CloudRefused: the login has none
        """
        session = self._connection.session
        with failures.named("logging in"):
            self._login.ensure(deadline)
            project = session.get_project_id()
        if not project and self._login.catalog is not None:
            raise CloudRefused(
                "the login is for no project; set "
                + self._origins.of("project_name", "auth.")
            )
        return str(project or "")

    def _given(self, service: Service) -> str | None:
        """The address in the settings, if there is one."""
        given = self._connection.config.get_endpoint(service)
        if given and not is_address(str(given)):
            where = self._origins.of(f"{service}_endpoint_override")
            raise CloudRefused(
                f"{where} must be like https://cloud.example/{service}, "
                f"not {one_line(str(given))!r}"
            )
        return given or None

    def _in_catalog(self, service: Service, deadline: Deadline) -> str:
        config = self._connection.config
        kind = config.get_service_type(service)
        region = config.get_region_name(service) or None
        wanted = config.get_interface(service) or "public"
        name = config.get_service_name(service)
        self._login.ensure(deadline)
        catalog = self._login.catalog
        if catalog is None:
            return self._by_plugin(kind, region, wanted)
        self.project_id(deadline)
        entries = list(_entries(catalog, kind, name))
        here = [entry for entry in entries if region in (None, entry.region)]
        for interface in [wanted] if isinstance(wanted, str) else wanted:
            kind = str(interface).removesuffix("URL")
            urls = [e.url for e in here if e.interface == kind]
            for url in filter(is_address, urls):
                return url
            if urls:
                raise CloudRefused(
                    f"the catalog's address of the service {service!r} is "
                    f"none: {one_line(urls[0])!r}"
                )
        raise CloudRefused(self._why_none(service, region, wanted, entries))

    def _by_plugin(self, kind: str, region: str | None, wanted: Any) -> str:
        """An address of a login that has no catalog."""
        url = self._connection.session.get_endpoint(
            service_type=kind,
            region_name=region,
            interface=wanted,
            skip_discovery=True,
        )
        if not url:
            raise CloudRefused(f"the login has no address of {kind}")
        return str(url)

    def _why_none(
        self,
        service: Service,
        region: str | None,
        wanted: Any,
        entries: list[Endpoint],
    ) -> str:
        what = f"the catalog has no service {service!r}"
        if not entries:
            return f"{what} ({failures.NAMES[service]})"
        here = [e for e in entries if region in (None, e.region)]
        if not here:
            regions = ", ".join(sorted({repr(e.region) for e in entries}))
            return one_line(
                f"{what} in the region {region!r}, only in {regions}; see "
                + self._origins.of("region_name")
            )
        interfaces = ", ".join(sorted({repr(e.interface) for e in here}))
        return one_line(
            f"{what} for the interface {wanted!r}, only for {interfaces}; "
            f"see {self._origins.of('interface')}"
        )


def _entries(catalog: Any, kind: str, name: str | None) -> Iterator[Endpoint]:
    """What a catalog has of a service; what is malformed is left out."""
    for service in catalog if isinstance(catalog, list) else ():
        if not isinstance(service, dict) or service.get("type") != kind:
            continue
        if name and service.get("name") not in (None, name):
            continue
        endpoints = service.get("endpoints")
        for entry in endpoints if isinstance(endpoints, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("url"), str):
                region = entry.get("region") or entry.get("region_id")
                yield Endpoint(
                    str(entry.get("interface")), str(region), entry["url"]
                )


def _versioned(service: Service, url: str) -> str:
    """The address of the version that poolmgr speaks."""
    parts = url.strip().rstrip("/").split("/")
    if _PROJECT.fullmatch(parts[-1]):
        del parts[-1]
    if _VERSION.fullmatch(parts[-1]):
        del parts[-1]
    return "/".join([*parts, _VERSIONS[service]])
