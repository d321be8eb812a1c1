"""Where the cloud's services are: what its catalog and the settings say.

No version document is read: the versions that poolmgr speaks have had their
addresses for ten years, and such documents are often wrong, or hidden.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import Service
from poolmgr.drivers.nova.connection import Access
from poolmgr.drivers.nova.login import Login
from poolmgr.drivers.nova.urls import is_address
from poolmgr.errors import CloudRefused
from poolmgr.text import one_line

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

    :param access: has the session and the settings
    :param login: has the catalog
    """

    def __init__(self, access: Access, login: Login) -> None:
        self._access = access
        self._config = access.config
        self._origin = access.origins.of
        self._login = login
        self._found: dict[Service, str] = {}

    def of(self, service: Service) -> str:
        """A service's address, with the version.

        :raises CloudRefused: there is none
        :raises NotSent: Keystone cannot be asked
        """
        if service not in self._found:
            with failures.translated(f"looking for the service {service}"):
                url = self._given(service) or self._in_catalog(service)
            self._found[service] = _versioned(service, url)
        return self._found[service]

    def described(self, service: Service) -> str:
        """A service's address and where it is set, for messages."""
        where = "the catalog"
        if self._config.get_endpoint(service):
            where = self._origin(f"{service}_endpoint_override")
        url = one_line(self._found.get(service, "no address"))
        return f"{url} (the address is from {where})"

    def project_id(self) -> str:
        """The project whose things are ours.

        :raises CloudRefused: the login has none
        """
        project = self._login.project_id
        if not project:
            raise CloudRefused(
                "the login is for no project; set "
                + self._origin("project_name", "auth.")
            )
        return project

    # -- inside -------------------------------------------------------------

    def _given(self, service: Service) -> str | None:
        """The address in the settings, if there is one."""
        given = self._config.get_endpoint(service)
        if given and not is_address(str(given)):
            where = self._origin(f"{service}_endpoint_override")
            raise CloudRefused(
                f"{where} must be like https://cloud.example/{service}, "
                f"not {one_line(str(given))!r}"
            )
        return given or None

    def _in_catalog(self, service: Service) -> str:
        kind = self._config.get_service_type(service)
        region = self._config.get_region_name(service) or None
        wanted = self._config.get_interface(service) or "public"
        self.project_id()
        name = self._config.get_service_name(service)
        entries = list(_entries(self._login.catalog, kind, name))
        here = [entry for entry in entries if region in (None, entry.region)]
        for interface in [wanted] if isinstance(wanted, str) else wanted:
            of_kind = str(interface).removesuffix("URL")
            urls = [e.url for e in here if e.interface == of_kind]
            for url in filter(is_address, urls):
                return url
            if urls:
                raise CloudRefused(
                    f"the catalog's address of the service {service!r} is "
                    f"none: {one_line(urls[0])!r}"
                )
        raise CloudRefused(self._why_none(service, region, wanted, entries))

    def _why_none(
        self,
        service: Service,
        region: str | None,
        wanted: Any,
        entries: list[Endpoint],
    ) -> str:
        what = f"the catalog has no service {service!r}"
        here = [entry for entry in entries if region in (None, entry.region)]
        if not entries:
            why = f"({failures.NAMES[service]})"
        elif not here:
            regions = ", ".join(sorted({repr(e.region) for e in entries}))
            why = f"in the region {region!r}, only in {regions}; see "
            why += self._origin("region_name")
        else:
            others = ", ".join(sorted({repr(e.interface) for e in here}))
            why = f"for the interface {wanted!r}, only for {others}; see "
            why += self._origin("interface")
        return one_line(f"{what} {why}")


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
