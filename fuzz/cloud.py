"""What a cloud answers: understood, or an error of the cloud."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.addresses import AddressRule
from poolmgr.drivers.nova.calls import Call, Service, parsed, text_of
from poolmgr.drivers.nova.floating_ips import FloatingIPs
from poolmgr.drivers.nova.servers import Servers
from poolmgr.errors import CloudError
from poolmgr.waiting import Deadline

SEEDS = [
    b'{"servers": [{"id": "i", "name": "n", "status": "ACTIVE", "metadata": '
    b'{"poolmgr_pool": "p", "poolmgr_state": "building"}, "addresses": '
    b'{"net": [{"version": 4, "addr": "10.0.0.1"}]}}]}',
    b'{"servers": [{"id": "i", "status": "ERROR", "fault": '
    b'{"message": "m"}}]}',
    b'{"floatingips": [{"id": "i", "floating_ip_address": "198.18.0.1", '
    b'"port_id": "p", "port_details": {"device_id": "d"}, "description": '
    b'"poolmgr pool=p state=building", "revision_number": 1}]}',
    b'{"forbidden": {"message": "Quota exceeded", "code": 403}}',
    b'{"NeutronError": {"type": "OverQuota", "message": "m", "detail": ""}}',
    b"<html><h1>Bad Gateway</h1></html>",
]


class _Told:
    """Answers every question alike."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def pages(self, call: Call, deadline: Deadline) -> Iterator[Any]:
        """The entries of what it was told."""
        key = call.path.split("/")[1]
        answer = parsed(Call("GET", "compute", "/", expects=key), self._body)
        yield from answer[key]

    def project_id(self, deadline: Deadline) -> str:
        """Any."""
        return "p"

    def run(self, call: Call, deadline: Deadline) -> Mapping[str, Any]:
        """The same once more."""
        return parsed(call, self._body)

    def get(
        self, service: Service, path: str, deadline: Deadline, **expects: Any
    ) -> Mapping[str, Any]:
        """The same once more."""
        return parsed(Call("GET", service, path, **expects), self._body)


def one(data: bytes) -> None:
    """The data is the body of the answer."""
    text = text_of(data)
    for status in (400, 401, 403, 409, 413, 500):
        headers = {"Retry-After": text[:30]}
        error = failures.of_answer(
            "GET /x", "network", status, headers, text, once=False
        )
        assert str(error).isprintable()
        assert len(str(error)) < 4000
        assert 0.0 <= getattr(error, "retry_after", 0.0) <= 300.0
    told: Any = _Told(data)
    deadline = Deadline(60.0)
    servers = Servers(told, told, AddressRule(), {})
    ips = FloatingIPs(told, told)
    for ask in (
        lambda: servers.all(deadline),
        lambda: servers.get("i", deadline),
        lambda: ips.all(deadline),
    ):
        with contextlib.suppress(CloudError):
            ask()
