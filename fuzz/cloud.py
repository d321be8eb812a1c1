"""A cloud's answers: they are parsed, or raise an error of the cloud."""

import contextlib

from keystoneauth1.access.access import AccessInfo, AccessInfoV3
from requests import Response

from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import Call, error_of_answer
from poolmgr.errors import CloudError

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


class _SameAnswer(Api):
    """A session that gives every call the same answer."""

    def __init__(self, body: bytes) -> None:
        self._answer = Response()
        self._answer.status_code, self._answer._content = 200, body

    def log_in(self, timeout: float) -> AccessInfo:
        return AccessInfoV3({"token": {"project": {"id": "p"}}}, "token")

    def send(self, call: Call, access: AccessInfo, timeout: float) -> Response:
        return self._answer


def one(data: bytes) -> None:
    """The data is the body of the answer."""
    text = data.decode("utf-8", "replace")
    for status in (400, 401, 403, 409, 413, 500):
        answer = Response()
        answer.status_code, answer._content = status, data
        answer.headers["Retry-After"] = text[:30]
        call = Call("GET", "network", "/x")
        error = error_of_answer(call, answer)
        assert str(error).isprintable()
        assert len(str(error)) < 4000
        assert 0.0 <= getattr(error, "retry_after", 0.0) <= 300.0
    driver = NovaCloud.__new__(NovaCloud)
    driver.api = _SameAnswer(data)
    driver.settings = NovaSettings()
    for ask in (
        lambda: driver.list_devices(60.0),
        lambda: driver.get_device("i", 60.0),
        lambda: driver.list_ips(60.0),
    ):
        with contextlib.suppress(CloudError):
            ask()
