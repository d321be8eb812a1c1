"""Tests of lists that change while they are read, and of endless lists."""

from itertools import count
from typing import Any

import pytest

from poolmgr.drivers.nova import api
from poolmgr.errors import Busy
from poolmgr.testing.openstack import Call, Fault
from tests.nova.pools import DETAILS, IPS, TIMEOUT, Pool, Pools, error_of


def test_a_server_list_whose_marker_was_deleted_is_read_again(
    pools: Pools,
) -> None:
    pool = pools.new({"max_limit": 2})
    names = [str(pool.build()["name"]) for _each in range(5)]
    last = pool.cloud.servers[3][
        "id"
    ]  # on the first page, as the newest comes first

    def is_second_page(call: Call) -> bool:
        if call.query.get("marker") != last:
            return False
        pool.cloud.remove_server(last)
        return True

    pool.cloud.forget_calls()
    pool.fault(Fault(path=DETAILS, where=is_second_page, hang=0.0))

    found = [d.name for d in pool.openstack.list_devices()]

    markers = [c.query.get("marker") for c in pool.calls("GET", DETAILS)]
    assert markers[:3] == [None, last, None]
    # The deleted server may be listed; every other one is, and only once.
    assert sorted({*found, names[3]}) == sorted(names)
    assert len(found) == len(set(found))


def test_a_floating_ip_list_whose_marker_was_deleted_is_read_again(
    pools: Pools,
) -> None:
    pool = pools.new({"max_limit_network": 2})
    ips = [pool.build_ip() for _each in range(5)]
    second = ips[1]

    def is_second_page(call: Call) -> bool:
        return call.query.get("marker") == second["id"]

    pool.fault(
        Fault(
            path=IPS,
            where=is_second_page,
            status=404,
            body={"NeutronError": {"type": "FloatingIPNotFound"}},
        )
    )

    found = pool.openstack.list_ips()

    assert [ip.address for ip in found] == [ip["ip"] for ip in ips]


@pytest.mark.parametrize("status", [400, 404])
def test_a_list_that_changes_at_every_read_is_busy(
    pools: Pools, status: int
) -> None:
    pool = pools.new({"max_limit": 1})
    pool.build()
    pool.build()
    pool.cloud.forget_calls()
    pool.fault(
        Fault(
            path=DETAILS,
            where=lambda call: "marker" in call.query,
            status=status,
            times=None,
        )
    )

    with pytest.raises(Busy, match="the list changed while it was read"):
        pool.openstack.driver.list_devices(timeout=TIMEOUT)


@pytest.mark.parametrize("path", [IPS, "/flavors"])
def test_reading_a_list_without_end_fails(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(api, "MOST_PAGES", 10)
    numbers = count()

    def endless(answer: Any) -> Any:
        key = path[1:]
        entry = {"id": f"id-{next(numbers)}", "name": "x", "status": "ACTIVE"}
        link = {"rel": "next", "href": "x"}
        return {**answer, key: [entry], f"{key}_links": [link]}

    pool.fault(Fault(path=path, method="GET", change=endless, times=None))
    pool.adopt(short_timeout=5.0, long_timeout=5.0)
    action = "BUILD_IP" if path == IPS else "BUILD_DEVICE"

    error = error_of(pool.run(action))

    assert error["code"] == "cloud_unavailable"
    assert f"GET {path} have no end" in error["message"]
