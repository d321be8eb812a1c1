"""Tests of the request id and the user agent of calls to the cloud."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.nova.pools import DETAILS, SERVERS, Pool, Pools
from tests.polling import until
from tests.processes import poolmgr

REQUEST_ID = re.compile(
    "req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def request_id_of(call: Call) -> str | None:
    """Return the global request id of a call."""
    return call.headers.get("X-OpenStack-Request-Id")


def logged_id(
    caplog: pytest.LogCaptureFixture, action: str, name: str = ""
) -> str:
    """Return the request id that a job has logged.

    :param name: the device's, as a job of an earlier test may still end
    """
    (line,) = (
        each
        for each in caplog.messages
        if each.startswith(f"action={action} ") and name in each
    )
    found = re.search(r" request=(\S+)", line)
    assert found is not None
    assert REQUEST_ID.fullmatch(found[1])
    return found[1]


def calls_with(cloud: LoopbackCloud, request_id: str) -> set[str]:
    """Return method and first part of the path of calls with an id."""
    return {
        f"{call.method} /{call.path.split('/')[1]}"
        for call in cloud.calls
        if request_id_of(call) == request_id
    }


def test_a_job_logs_the_request_id_of_its_calls(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = pools.new()
    device, ip = pool.build(), pool.build_ip()
    before = len(pool.cloud.calls)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    calls = pool.cloud.calls[before:]
    assign_id = logged_id(caplog, "ASSIGN_IP")
    assert {call.service for call in calls} == {"compute", "network"}
    assert {request_id_of(call) for call in calls} == {assign_id}
    build_ids = [logged_id(caplog, f"BUILD_{x}") for x in ("DEVICE", "IP")]
    assert "POST /floatingips" in calls_with(pool.cloud, build_ids[1])
    assert len({assign_id, *build_ids}) == 3


def test_each_poll_of_booting_devices_has_its_own_request_id(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = pools.new({"boot_time": 1.5})
    name = str(pool.build()["name"])

    build_id = logged_id(caplog, "BUILD_DEVICE", name)
    assert "POST /servers" in calls_with(pool.cloud, build_id)
    polls = [request_id_of(c) for c in pool.cloud.calls if c.path == DETAILS]
    others = [each for each in polls if each != build_id]
    assert len(others) >= 2
    assert len(set(others)) == len(others)
    assert all(each and REQUEST_ID.fullmatch(each) for each in others)


def test_jobs_that_share_a_lookup_log_its_request_id(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pool = pools.new()
    names = [str(pool.build()["name"]) for _ in range(3)]
    before = len(pool.cloud.calls)
    caplog.clear()
    # The other two jobs share a look-up while the first one hangs.
    pool.fault(Fault(path=DETAILS, hang=1.5, times=1))

    def delete(name: str) -> None:
        pool.passes("DELETE_DEVICE", name=name)

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(delete, names[0])
        until(lambda: len(pool.cloud.calls) > before)
        others = [threads.submit(delete, name) for name in names[1:]]
        for each in (first, *others):
            each.result()

    (joined,) = (m for m in caplog.messages if ": with req-" in m)
    assert names[1] in joined or names[2] in joined
    shared = joined.rsplit(" ", 1)[1]
    assert "GET /servers" in calls_with(pool.cloud, shared)
    # The first job did not share its look-up and used its own id.
    first_lookup = next(
        c for c in pool.cloud.calls[before:] if c.path == DETAILS
    )
    assert f" request={request_id_of(first_lookup)}" in caplog.text


def test_the_clouds_request_id_of_a_failed_call_is_in_the_reason(
    pools: Pools,
) -> None:
    pool = pools.new()
    request_id = "req-11111111-2222-4333-8444-555555555555"
    pool.fault(
        Fault(
            method="POST",
            path=SERVERS,
            status=403,
            headers={"X-OpenStack-Request-Id": request_id},
        )
    )

    assert pool.fails("BUILD_DEVICE", "cloud_refused").endswith(
        f" [{request_id}]"
    )


def test_a_command_uses_one_request_id(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    environment = {
        f"OS_NOVA__{name.upper()}": str(value)
        for name, value in cloud.credentials.items()
    }
    done = poolmgr("device", "list", **environment)

    assert done.returncode == 0, done.stderr
    calls = [call for call in cloud.calls if call.service == "compute"]
    (request_id,) = {request_id_of(call) for call in calls} - {None}
    assert request_id is not None
    assert REQUEST_ID.fullmatch(request_id)


def test_every_call_has_poolmgrs_user_agent(pool: Pool) -> None:
    pool.build_ip(pool.build())

    agents = {call.headers["User-Agent"] for call in pool.cloud.calls}

    assert all(agent.startswith("poolmgr/") for agent in agents)
    assert {call.service for call in pool.cloud.calls} >= {
        "identity",
        "compute",
        "network",
    }
