"""Requests to a loopback cloud by the SDK's session."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openstack

from poolmgr.testing.openstack import LoopbackCloud
from tests.polling import until

Json = dict[str, Any]

TIMEOUT = 60.0
UNKNOWN_ID = "11111111-1111-4111-8111-111111111111"


class Caller:
    """Sends requests to a loopback cloud and creates resources in it.

    :ivar connection: the SDK's connection
    """

    def __init__(self, cloud: LoopbackCloud) -> None:
        self.cloud = cloud
        self.connection = cloud.connect(
            compute_default_microversion="2.79", api_timeout=TIMEOUT
        )

    def compute(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to Nova and return the answer."""
        return self.connection.compute.request(path, method, **options)

    def network(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to Neutron and return the answer."""
        return self.connection.network.request(path, method, **options)

    def post_server(self, name: str = "lb-1", **fields: Any) -> Any:
        """Request a server and return the answer.

        :param fields: of the request; a field that is None is left out
        """
        ids = self.cloud.ids
        server = {
            "name": name,
            "imageRef": ids["tiny"],
            "flavorRef": ids["m1.nano"],
            "networks": [{"uuid": ids["private"]}],
            **fields,
        }
        sent = {k: v for k, v in server.items() if v is not None}
        return self.compute("POST", "/servers", json={"server": sent})

    def create_server(self, name: str = "lb-1", **fields: Any) -> str:
        """Create a server and return its id."""
        answer = self.post_server(name, **fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])

    def get_server(self, server_id: str) -> Json:
        """Return a server's JSON."""
        answer = self.compute("GET", f"/servers/{server_id}")
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()["server"]
        return shown

    def boot_server(self, name: str = "lb-1", **fields: Any) -> str:
        """Create a server, wait until it has booted, return its id."""
        server_id = self.create_server(name, **fields)
        until(lambda: self.get_server(server_id)["status"] == "ACTIVE")
        return server_id

    def find_port(self, server_id: str) -> str:
        """Return the id of a server's port."""
        query = {"device_id": server_id}
        answer = self.network("GET", "/ports", params=query)
        (port,) = answer.json()["ports"]
        return str(port["id"])

    def list_names(self, **query: Any) -> list[str]:
        """Return the names in the list of servers."""
        answer = self.compute("GET", "/servers", params=query)
        assert answer.status_code == 200, answer.text
        return [server["name"] for server in answer.json()["servers"]]

    def create_ip(self, **fields: Any) -> Json:
        """Create a floating IP and return its JSON."""
        answer = self.post_ip(**fields)
        assert answer.status_code == 201, answer.text
        shown: Json = answer.json()["floatingip"]
        return shown

    def post_ip(self, **fields: Any) -> Any:
        """Request a floating IP and return the answer."""
        public = self.cloud.ids["public"]
        body = {"floatingip": {"floating_network_id": public, **fields}}
        return self.network("POST", "/floatingips", json=body)

    def put_ip(
        self, ip_id: str, revision: int | None = None, **fields: Any
    ) -> Any:
        """Change a floating IP and return the answer.

        :param revision: the one that the change requires
        """
        headers = {}
        if revision is not None:
            headers["If-Match"] = f"revision_number={revision}"
        return self.network(
            "PUT",
            f"/floatingips/{ip_id}",
            json={"floatingip": fields},
            headers=headers,
        )

    def get_ip(self, ip_id: str) -> Json:
        """Return a floating IP's JSON."""
        answer = self.network("GET", f"/floatingips/{ip_id}")
        shown: Json = answer.json()["floatingip"]
        return shown


def message_of(answer: Any) -> str:
    """Return the message of a service's refusal."""
    (refusal,) = answer.json().values()
    return str(refusal["message"])


@contextmanager
def connected(**options: Any) -> Iterator[Any]:
    """Open a connection, and close it when the block ends."""
    connection = openstack.connect(**options)
    try:
        yield connection
    finally:
        connection.session.session.close()
        connection.close()
