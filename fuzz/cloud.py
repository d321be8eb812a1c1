"""A cloud's answers: they are parsed, or raise an error of the cloud."""

import contextlib
from typing import Any

from keystoneauth1.access.access import AccessInfo, AccessInfoV3
from requests import Response

from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.drivers.nova.api import Api
from poolmgr.drivers.nova.calls import ApiCall, error_of_answer
from poolmgr.drivers.nova.credentials import connect
from poolmgr.drivers.nova.login import Login
from poolmgr.errors import CloudError

SEEDS = [
    b'{"servers": [{"id": "i", "name": "n", "status": "ACTIVE", "metadata": '
    b'{"poolmgr_pool": "p", "poolmgr_state": "building"}, "addresses": '
    b'{"net": [{"version": 4, "addr": "10.0.0.1"}]}, "created": '
    b'"2026-01-01T00:00:00Z"}]}',
    b'{"servers": [{"id": "i", "status": "ERROR", "fault": '
    b'{"message": "m"}}]}',
    b'{"floatingips": [{"id": "i", "floating_ip_address": "198.18.0.1", '
    b'"port_id": "p", "port_details": {"device_id": "d"}, "description": '
    b'"poolmgr pool=p state=building", "revision_number": 1}]}',
    b'{"forbidden": {"message": "Quota exceeded", "code": 403}}',
    b'{"NeutronError": {"type": "OverQuota", "message": "m", "detail": ""}}',
    b"<html><h1>Bad Gateway</h1></html>",
]


_SETTINGS = NovaSettings(
    auth_url="http://keystone.example",
    username="u",
    password="p",
    compute_endpoint="http://nova.example",
    network_endpoint="http://neutron.example",
)
_ACCOUNT = connect(_SETTINGS)


class _LoggedIn(Login):
    """A login that needs no request."""

    def access(
        self, timeout: float, refused: AccessInfo | None = None
    ) -> AccessInfo:
        return AccessInfoV3({"token": {"project": {"id": "p"}}}, "token")


class _SameAnswer(Api):
    """Services that give every call the same answer."""

    answer: Response

    def send(self, call: ApiCall, url: str, request: Any) -> Any:
        return self.answer


def one(data: bytes) -> None:
    """The data is the body of the answer."""
    text = data.decode("utf-8", "replace")
    for status in (400, 401, 403, 409, 413, 500):
        answer = Response()
        answer.status_code, answer._content = status, data
        answer.headers["Retry-After"] = text[:30]
        call = ApiCall("GET", "network", "/x")
        error = error_of_answer(call, answer, "http://neutron.example")
        assert str(error).isprintable()
        assert len(str(error)) < 4000
        assert 0.0 <= getattr(error, "retry_after", 0.0) <= 300.0
    driver = NovaCloud.__new__(NovaCloud)
    driver.settings = _SETTINGS
    driver.api = api = _SameAnswer(_ACCOUNT, _SETTINGS, driver)
    lock: Any = contextlib.nullcontext()
    api.login = _LoggedIn(_ACCOUNT, _ACCOUNT.session, api.send, lock)
    api.answer = Response()
    api.answer.status_code, api.answer._content = 200, data
    for ask in (
        lambda: driver.list_devices(60.0),
        lambda: driver.get_device("i", 60.0),
        lambda: driver.list_ips(60.0),
    ):
        with contextlib.suppress(CloudError):
            ask()
