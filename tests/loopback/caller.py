"""Calls of a loopback cloud by the SDK's plain requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openstack

from poolmgr.testing.openstack import LoopbackCloud
from tests.polling import until

Json = dict[str, Any]

TIMEOUT = 20.0
NOBODY = "11111111-1111-4111-8111-111111111111"


class Caller:
    """Sends requests, and makes the usual things.

    :ivar connection: the SDK's
    """

    def __init__(self, cloud: LoopbackCloud) -> None:
        self.cloud = cloud
        self.connection = cloud.connect(
            compute_default_microversion="2.79", api_timeout=TIMEOUT
        )

    def compute(self, method: str, path: str, **options: Any) -> Any:
        """The answer of compute."""
        return self.connection.compute.request(path, method, **options)

    def network(self, method: str, path: str, **options: Any) -> Any:
        """The answer of network."""
        return self.connection.network.request(path, method, **options)

    def post_server(self, name: str = "lb-1", **fields: Any) -> Any:
        """The answer to POST /servers; a field that is None is left out."""
        ids = self.cloud.ids
        server = {
            "name": name,
            "imageRef": ids["tiny"],
            "flavorRef": ids["m1.nano"],
            "networks": [{"uuid": ids["private"]}],
            **fields,
        }
        given = {k: v for k, v in server.items() if v is not None}
        return self.compute("POST", "/servers", json={"server": given})

    def new_server(self, name: str = "lb-1", **fields: Any) -> str:
        """The id of a new server."""
        answer = self.post_server(name, **fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])

    def server(self, server_id: str) -> Json:
        """A server as it is now."""
        answer = self.compute("GET", f"/servers/{server_id}")
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()["server"]
        return shown

    def active_server(self, name: str = "lb-1", **fields: Any) -> str:
        """The id of a server that has booted."""
        server_id = self.new_server(name, **fields)
        until(lambda: self.server(server_id)["status"] == "ACTIVE")
        return server_id

    def port_of(self, server_id: str) -> str:
        """The id of a server's port."""
        query = {"device_id": server_id}
        answer = self.network("GET", "/ports", params=query)
        (port,) = answer.json()["ports"]
        return str(port["id"])

    def names(self, **query: Any) -> list[str]:
        """The names in the list of servers."""
        answer = self.compute("GET", "/servers", params=query)
        assert answer.status_code == 200, answer.text
        return [server["name"] for server in answer.json()["servers"]]

    def new_ip(self, **fields: Any) -> Json:
        """A new floating IP."""
        answer = self.post_ip(**fields)
        assert answer.status_code == 201, answer.text
        shown: Json = answer.json()["floatingip"]
        return shown

    def post_ip(self, **fields: Any) -> Any:
        """The answer to POST /floatingips."""
        public = self.cloud.ids["public"]
        body = {"floatingip": {"floating_network_id": public, **fields}}
        return self.network("POST", "/floatingips", json=body)

    def put_ip(
        self, ip_id: str, revision: int | None = None, **fields: Any
    ) -> Any:
        """The answer to PUT of a floating IP."""
        headers = {}
        if revision is not None:
            headers["If-Match"] = f"revision_number={revision}"
        return self.network(
            "PUT",
            f"/floatingips/{ip_id}",
            json={"floatingip": fields},
            headers=headers,
        )

    def ip(self, ip_id: str) -> Json:
        """A floating IP as it is now."""
        answer = self.network("GET", f"/floatingips/{ip_id}")
        shown: Json = answer.json()["floatingip"]
        return shown


def message_of(answer: Any) -> str:
    """What a service says in a refusal."""
    (refusal,) = answer.json().values()
    return str(refusal["message"])


@contextmanager
def connected(**options: Any) -> Iterator[Any]:
    """A connection of one's own, closed at the end."""
    connection = openstack.connect(**options)
    try:
        yield connection
    finally:
        connection.session.session.close()
        connection.close()
