"""What the cloud can log of a call: who makes it, and the id of its job."""

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


def sent(call: Call) -> str | None:
    """The global request id that came with a call."""
    return call.headers.get("X-OpenStack-Request-Id")


def logged(
    caplog: pytest.LogCaptureFixture, action: str, name: str = ""
) -> str:
    """The request id in the line that a job has in the log.

    :param name: the device's; a job of an earlier test may still end
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


def asked_for(cloud: LoopbackCloud, request_id: str) -> set[str]:
    """The calls with an id: method and first part of the path."""
    return {
        f"{call.method} /{call.path.split('/')[1]}"
        for call in cloud.calls
        if sent(call) == request_id
    }


def test_a_jobs_id_is_in_the_log_and_in_all_its_calls(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = pools.new()
    device, ip = pool.build(), pool.ip()
    before = len(pool.cloud.calls)

    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    calls = pool.cloud.calls[before:]
    mine = logged(caplog, "ASSIGN_IP")
    assert {call.service for call in calls} == {"compute", "network"}
    assert {sent(call) for call in calls} == {mine}
    ids = [logged(caplog, f"BUILD_{what}") for what in ("DEVICE", "IP")]
    assert len({mine, *ids}) == 3


def test_the_watch_has_an_id_of_its_own_for_each_look(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = pools.new({"boot_time": 1.5})
    name = str(pool.build()["name"])

    mine = logged(caplog, "BUILD_DEVICE", name)
    assert "POST /servers" in asked_for(pool.cloud, mine)
    looks = [sent(c) for c in pool.cloud.calls if c.path == DETAILS]
    others = [each for each in looks if each != mine]
    assert len(others) >= 2
    assert len(set(others)) == len(others)
    assert all(each and REQUEST_ID.fullmatch(each) for each in others)


def test_jobs_that_share_a_look_up_log_the_id_of_the_first(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pool = pools.new()
    names = [str(pool.build()["name"]) for _ in range(3)]
    before = len(pool.cloud.calls)
    caplog.clear()
    # While the first look-up is under way the other two come together.
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
    assert "GET /servers" in asked_for(pool.cloud, shared)
    # Who asked alone has asked by its own id.
    lone = next(c for c in pool.cloud.calls[before:] if c.path == DETAILS)
    assert f" request={sent(lone)}" in caplog.text


def test_what_the_cloud_calls_a_failed_call_is_in_the_reason(
    pools: Pools,
) -> None:
    pool = pools.new()
    answered = "req-11111111-2222-4333-8444-555555555555"
    pool.fault(
        Fault(
            method="POST",
            path=SERVERS,
            status=403,
            headers={"X-OpenStack-Request-Id": answered},
        )
    )

    assert pool.fails("BUILD_DEVICE", "cloud_refused").endswith(
        f" [{answered}]"
    )


def test_a_command_has_one_id_for_what_it_asks(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    environment = {
        f"OS_NOVA__{name.upper()}": str(value)
        for name, value in cloud.credentials.items()
    }
    done = poolmgr("device", "list", **environment)

    assert done.returncode == 0, done.stderr
    ids = {sent(c) for c in cloud.calls if c.service == "compute"} - {None}
    (one,) = ids
    assert one is not None
    assert REQUEST_ID.fullmatch(one)


def test_two_jobs_on_one_thread_do_not_share_an_id(pools: Pools) -> None:
    pool = pools.new()
    pool.ip()
    pool.ip()

    posts = pool.calls("POST", "/floatingips")
    assert len({sent(call) for call in posts}) == 2


def test_every_call_says_who_makes_it(pool: Pool) -> None:
    pool.ip(on=pool.build())

    agents = {call.headers["User-Agent"] for call in pool.cloud.calls}

    assert all(agent.startswith("poolmgr/") for agent in agents)
    assert {call.service for call in pool.cloud.calls} >= {
        "identity",
        "compute",
        "network",
    }
