"""Tests of the transport: timeouts, redirects and sizes of answers."""

import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from requests import Response
from requests.adapters import HTTPAdapter

from poolmgr.cloud import BlockingCloud, open_cloud
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.errors import CloudRefused
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import openstack_on
from tests.nova.pools import DETAILS, IPS, SERVERS, Pool, Pools, error_of
from tests.polling import until

#: Seconds between two bytes of an answer that trickles.
SLOW = 0.05
TOKENS = "/auth/tokens"


@pytest.fixture
def other() -> Iterator[LoopbackCloud]:
    """Yield a cloud that must not be called."""
    with LoopbackCloud() as other:
        yield other


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the log, retries included."""
    caplog.set_level(logging.INFO, "poolmgr")
    return caplog


def device_names(openstack: BlockingCloud, seconds: float = 20.0) -> list[str]:
    """Return the names of all devices."""
    return [each.name for each in openstack.within(seconds).list_devices()]


def check_passes(openstack: BlockingCloud, seconds: float) -> bool:
    """Return whether a check finds no problem within this time."""
    found = openstack.within(60.0).check(seconds)
    return not any(finding.problem for finding in found)


# -- trickling answers --------------------------------------------------------


@pytest.mark.parametrize("trickle", [{"drip": SLOW}, {"drip_head": SLOW}])
def test_calls_with_trickling_answers_free_their_slots(
    pools: Pools, trickle: Mapping[str, float]
) -> None:
    nova = {"calls_at_once": 2, "call_timeout": 0.3}
    pool = pools.new(nova=nova, short_timeout=0.8)
    pool.fault(Fault(path=IPS, times=None, **trickle))  # type: ignore[arg-type]
    for _job in range(2):
        error = error_of(pool.run("DELETE_IP", ip="198.18.0.7"))
        assert error["retryable"]

    pool.cloud.clear_faults()
    pool.adopt(short_timeout=20.0)
    pool.build_ip()


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_first_calls_with_trickling_headers_are_retried(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.5})
    pool.fault(Fault(service=service, drip_head=SLOW, times=2))

    pool.build()


def test_a_late_answer_within_its_timeout_is_used(
    cloud: LoopbackCloud,
) -> None:
    with openstack_on(cloud, call_timeout=20.0) as openstack:
        device_names(openstack)
        cloud.fault(Fault(path=DETAILS, hang=3.5))

        assert device_names(openstack, 20.0) == []


def test_a_check_times_out_while_its_first_headers_trickle(
    cloud: LoopbackCloud,
) -> None:
    with openstack_on(cloud, call_timeout=0.3) as openstack:
        for service in ("identity", "compute", "network"):
            cloud.clear_faults()
            cloud.fault(Fault(service=service, drip_head=SLOW, times=None))
            assert not check_passes(openstack, 1.0), service

        cloud.clear_faults()
        assert check_passes(openstack, 20.0)


# -- hanging libraries and wrong clocks ---------------------------------------


def test_a_call_that_hangs_in_a_library_is_abandoned_and_counted(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = threading.Event()
    resolve = socket.getaddrinfo

    def hang(*args: Any, **kwargs: Any) -> Any:
        resume.wait(60)
        return resolve(*args, **kwargs)

    pool = pools.new(nova={"call_timeout": 0.2}, short_timeout=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", hang)
        assert error_of(pool.run("BUILD_IP"))["retryable"]
        until(lambda: pool.openstack.cloud.calls.overdue)
        resume.set()

    until(lambda: not pool.openstack.cloud.calls.overdue)
    pool.adopt(short_timeout=20.0)
    pool.build_ip()


def test_a_wall_clock_set_back_does_not_affect_jobs(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = pool.build()
    with monkeypatch.context() as patched:
        now = time.time
        patched.setattr(time, "time", lambda: now() - 3600)

        pool.build()
        pool.passes("DELETE_DEVICE", name=device["name"])


def test_a_cloud_with_a_wrong_clock_costs_no_extra_logins(
    pools: Pools,
) -> None:
    def subtract_a_day(answer: dict[str, Any]) -> dict[str, Any]:
        for name in ("issued_at", "expires_at"):
            at = datetime.fromisoformat(answer["token"][name])
            answer["token"][name] = (at - timedelta(days=1)).isoformat()
        return answer

    pool = pools.new()
    pool.fault(Fault("POST", TOKENS, times=None, change=subtract_a_day))

    for _job in range(3):
        pool.build_ip()

    assert pool.cloud.count("POST", "identity") == 1


# -- redirects ----------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize(
    "rule",
    [
        {"method": "POST", "path": SERVERS},
        {"method": "GET", "path": IPS},
        {"method": "POST", "path": TOKENS},
    ],
    ids=lambda rule: str(rule["path"]),
)
def test_credentials_are_not_sent_to_a_redirect(
    pools: Pools, other: LoopbackCloud, status: int, rule: dict[str, str]
) -> None:
    pool = pools.new()
    location = {"Location": f"{other.url}/compute/v2.1/secrets"}
    pool.fault(Fault(status=status, headers=location, times=None, **rule))  # type: ignore[arg-type]

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        answer = pool.run(action)
        if answer["response"] == "FAIL":
            message = error_of(answer)["message"]
            assert "redirect" in message
            assert rule["path"] in message
            assert f" at {pool.cloud.url}/" in message
            assert str(other.url) not in message
            break
    else:
        raise AssertionError("both jobs passed")

    assert not other.calls


@pytest.mark.parametrize("location", [None, "", "/compute/v2.1/servers", "//"])
def test_a_redirect_to_any_location_fails_the_job(
    pool: Pool, location: str | None
) -> None:
    headers = {} if location is None else {"Location": location}
    pool.fault(Fault(method="DELETE", status=302, headers=headers))
    device = pool.build()

    pool.fails("DELETE_DEVICE", "cloud_refused", name=device["name"])

    assert pool.only_server()["name"] == device["name"]


# -- sizes --------------------------------------------------------------------

#: An answer of more bytes than are read; it compresses well.
OVERSIZED = b" " * (65 * 1024 * 1024)

BODIES: Mapping[str, Callable[[], tuple[bytes, dict[str, str]]]] = {
    "plain": lambda: (OVERSIZED, {}),
    "compressed": lambda: (
        gzip.compress(OVERSIZED, 1),
        {"Content-Encoding": "gzip"},
    ),
    "unknown": lambda: (b"unknown", {"Content-Encoding": "br"}),
}


@pytest.mark.parametrize("encoding", BODIES)
def test_an_oversized_or_undecodable_answer_is_retried(
    cloud: LoopbackCloud, encoding: str, log: pytest.LogCaptureFixture
) -> None:
    body, headers = BODIES[encoding]()
    with openstack_on(cloud) as openstack:
        device_names(openstack)
        fault = Fault(path=DETAILS, status=200, body=body, headers=headers)
        cloud.fault(fault)

        assert device_names(openstack) == []

    assert DETAILS in log.text
    assert "; retrying in" in log.text


@pytest.mark.parametrize("status", [201, 401, 500])
def test_an_oversized_token_answer_is_retried(
    cloud: LoopbackCloud, status: int, log: pytest.LogCaptureFixture
) -> None:
    headers = {"X-Subject-Token": "token"}
    fault = Fault(path=TOKENS, status=status, body=OVERSIZED, headers=headers)
    cloud.fault(fault)
    with openstack_on(cloud) as openstack:
        assert device_names(openstack) == []

    assert TOKENS in log.text
    assert "; retrying in" in log.text


# -- a caller's own connection ------------------------------------------------


def test_limits_apply_to_a_callers_own_connection(
    cloud: LoopbackCloud, other: LoopbackCloud, log: pytest.LogCaptureFixture
) -> None:
    location = {"Location": f"{other.url}/compute/v2.1/servers"}
    connection = cloud.connect()
    driver = NovaCloud(NovaSettings(call_timeout=5.0), connection)
    with open_cloud(driver) as openstack:
        device_names(openstack)
        cloud.fault(Fault(path=DETAILS, status=200, body=OVERSIZED))
        cloud.fault(Fault(path=DETAILS, drip_head=SLOW))
        assert device_names(openstack) == []
        assert "is too long; retrying in" in log.text
        assert "timed out; retrying in" in log.text

        cloud.fault(Fault(path=DETAILS, status=307, headers=location))
        with pytest.raises(CloudRefused, match="redirect"):
            device_names(openstack)

    assert not other.calls
    # The caller's own calls still follow redirects.
    cloud.fault(Fault(path=DETAILS, status=307, headers=location))
    connection.compute.get("/servers/detail")
    assert other.count("GET") == 1


class CountingAdapter(HTTPAdapter):
    """An adapter that counts its requests."""

    count = 0

    def send(self, *args: Any, **kwargs: Any) -> Response:
        """Send a request."""
        self.count += 1
        return super().send(*args, **kwargs)


def test_an_adapter_of_a_callers_own_connection_is_used(
    cloud: LoopbackCloud,
) -> None:
    connection, adapter = cloud.connect(), CountingAdapter()
    connection.session.session.mount("http://", adapter)
    driver = NovaCloud(NovaSettings(call_timeout=5.0), connection)
    with open_cloud(driver) as openstack:
        device_names(openstack)

    assert adapter.count == len(cloud.calls)


def test_proxies_are_looked_up_once_for_each_host(
    cloud: LoopbackCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def no_proxies(url: str, no_proxy: str | None = None) -> dict[str, str]:
        looked_up.append(url)
        return {}

    monkeypatch.setattr("requests.sessions.get_environ_proxies", no_proxies)
    driver = NovaCloud(NovaSettings(call_timeout=5.0), cloud.connect())
    with open_cloud(driver) as openstack:
        for _twice in range(2):
            device_names(openstack)
            openstack.list_ips()

    assert looked_up == [f"{cloud.url}/"]
    assert len(cloud.calls) > 4
