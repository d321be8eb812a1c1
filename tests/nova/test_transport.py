"""No answer of the cloud takes for ever, is too big, or leads elsewhere."""

import gzip
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

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
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        yield cloud


@pytest.fixture
def other() -> Iterator[LoopbackCloud]:
    """A cloud that nobody is to ask for anything."""
    with LoopbackCloud() as other:
        yield other


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, calls that are made again included."""
    caplog.set_level(logging.INFO, "poolmgr")
    return caplog


def devices(openstack: BlockingCloud, seconds: float = 20.0) -> list[str]:
    return [each.name for each in openstack.within(seconds).list_devices()]


def fits(openstack: BlockingCloud, seconds: float) -> bool:
    """Whether a check finds nothing wrong in this time."""
    found = openstack.within(60.0).check(seconds)
    return not any(finding.problem for finding in found)


# -- answers that trickle -----------------------------------------------------


@pytest.mark.parametrize("trickle", [{"drip": SLOW}, {"drip_head": SLOW}])
def test_answers_that_trickle_give_their_places_back(
    pools: Pools, trickle: Mapping[str, float]
) -> None:
    nova = {"calls_at_once": 2, "call_timeout": 0.3}
    pool = pools.new(nova=nova, short_timeout=0.8)
    pool.fault(Fault(path=IPS, times=None, **trickle))  # type: ignore[arg-type]
    for _two in range(2):
        error = error_of(pool.run("DELETE_IP", ip="198.18.0.7"))
        assert error["retryable"]

    pool.cloud.clear_faults()
    pool.adopt(short_timeout=20.0)
    pool.ip()


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_heads_that_trickle_at_the_start_are_no_end(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.5})
    pool.fault(Fault(service=service, drip_head=SLOW, times=2))

    pool.build()


def test_an_answer_late_within_its_time_is_taken(
    cloud: LoopbackCloud,
) -> None:
    with openstack_on(cloud, call_timeout=20.0) as openstack:
        devices(openstack)
        cloud.fault(Fault(path=DETAILS, hang=3.5))

        assert devices(openstack, 6.0) == []


def test_the_start_is_bounded(cloud: LoopbackCloud) -> None:
    with openstack_on(cloud, call_timeout=0.3) as openstack:
        for service in ("identity", "compute", "network"):
            cloud.clear_faults()
            cloud.fault(Fault(service=service, drip_head=SLOW, times=None))
            assert not fits(openstack, 1.0), service

        cloud.clear_faults()
        assert fits(openstack, 20.0)


# -- what hangs inside the process --------------------------------------------


def test_what_hangs_in_a_library_is_given_up_and_seen(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    resolve = socket.getaddrinfo

    def hang(*args: Any, **kwargs: Any) -> Any:
        go_on.wait(60)
        return resolve(*args, **kwargs)

    pool = pools.new(nova={"call_timeout": 0.2}, short_timeout=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", hang)
        assert error_of(pool.run("BUILD_IP"))["retryable"]
        until(lambda: pool.openstack.cloud.calls.overdue)
        go_on.set()

    until(lambda: not pool.openstack.cloud.calls.overdue)
    pool.adopt(short_timeout=20.0)
    pool.ip()


def test_a_wall_clock_that_is_set_back_changes_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = pool.build()
    with monkeypatch.context() as patched:
        import time

        now = time.time
        patched.setattr(time, "time", lambda: now() - 3600)

        pool.build()
        pool.passes("DELETE_DEVICE", name=device["name"])


def test_a_cloud_whose_clock_is_another_costs_no_logins(
    pools: Pools,
) -> None:
    def of_yesterday(answer: dict[str, Any]) -> dict[str, Any]:
        for name in ("issued_at", "expires_at"):
            at = datetime.fromisoformat(answer["token"][name])
            answer["token"][name] = (at - timedelta(days=1)).isoformat()
        return answer

    pool = pools.new()
    pool.fault(Fault("POST", TOKENS, times=None, change=of_yesterday))

    for _three in range(3):
        pool.ip()

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
def test_no_token_and_no_password_follows_a_redirect(
    pools: Pools, other: LoopbackCloud, status: int, rule: dict[str, str]
) -> None:
    pool = pools.new()
    where = {"Location": f"{other.url}/compute/v2.1/secrets"}
    pool.fault(Fault(status=status, headers=where, times=None, **rule))  # type: ignore[arg-type]

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        answer = pool.run(action)
        if answer["response"] == "FAIL":
            message = error_of(answer)["message"]
            assert "redirect" in message
            assert rule["path"] in message
            assert str(other.url) not in message
            break
    else:
        raise AssertionError("both are done")

    assert not other.calls


@pytest.mark.parametrize("where", [None, "", "/compute/v2.1/servers", "//"])
def test_a_redirect_is_no_answer_wherever_it_leads(
    pool: Pool, where: str | None
) -> None:
    headers = {} if where is None else {"Location": where}
    pool.fault(Fault(method="DELETE", status=302, headers=headers))
    device = pool.build()

    pool.fails("DELETE_DEVICE", "cloud_refused", name=device["name"])

    assert pool.only_server()["name"] == device["name"]


# -- sizes --------------------------------------------------------------------

#: More than an answer may have, of a byte that packs well.
BIG = b" " * (65 * 1024 * 1024)


PACKED: Mapping[str, Callable[[], tuple[bytes, dict[str, str]]]] = {
    "plain": lambda: (BIG, {}),
    "packed": lambda: (gzip.compress(BIG, 1), {"Content-Encoding": "gzip"}),
    "unknown": lambda: (b"packed", {"Content-Encoding": "br"}),
}


@pytest.mark.parametrize("how", PACKED)
def test_an_answer_that_is_too_much_is_none(
    cloud: LoopbackCloud, how: str, log: pytest.LogCaptureFixture
) -> None:
    body, headers = PACKED[how]()
    with openstack_on(cloud) as openstack:
        devices(openstack)
        fault = Fault(path=DETAILS, status=200, body=body, headers=headers)
        cloud.fault(fault)

        assert devices(openstack) == []

    assert DETAILS in log.text
    assert "; retrying in" in log.text


@pytest.mark.parametrize("status", [201, 401, 500])
def test_a_token_that_is_too_much_is_none(
    cloud: LoopbackCloud, status: int, log: pytest.LogCaptureFixture
) -> None:
    headers = {"X-Subject-Token": "token"}
    fault = Fault(path=TOKENS, status=status, body=BIG, headers=headers)
    cloud.fault(fault)
    with openstack_on(cloud) as openstack:
        assert devices(openstack) == []

    assert TOKENS in log.text
    assert "; retrying in" in log.text


# -- a connection of somebody else's ------------------------------------------


def test_bounds_hold_on_a_callers_own_connection(
    cloud: LoopbackCloud, other: LoopbackCloud, log: pytest.LogCaptureFixture
) -> None:
    where = {"Location": f"{other.url}/compute/v2.1/servers"}
    connection = cloud.connect()
    driver = NovaCloud(NovaSettings(call_timeout=5.0), connection)
    with open_cloud(driver) as openstack:
        devices(openstack)
        cloud.fault(Fault(path=DETAILS, status=200, body=BIG))
        cloud.fault(Fault(path=DETAILS, drip_head=SLOW))
        assert devices(openstack) == []
        assert "is too long; retrying in" in log.text
        assert "timed out; retrying in" in log.text

        cloud.fault(Fault(path=DETAILS, status=307, headers=where))
        with pytest.raises(CloudRefused, match="redirect"):
            devices(openstack)

    assert not other.calls
    # It follows redirects as it did.
    cloud.fault(Fault(path=DETAILS, status=307, headers=where))
    connection.compute.get("/servers/detail")
    assert other.count("GET") == 1
