"""What nobody owns on OpenStack."""

import time

from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault
from tests.nova.pools import DETAILS, Pool, Pools
from tests.reaping import BlockingReaper, verdicts


def reaper(pool: Pool) -> BlockingReaper:
    return BlockingReaper(
        pool.openstack,
        pool=pool.manager.settings,
        old=0.0,
        twice=True,
    )


def reaped(pool: Pool) -> dict[str, str]:
    """Two looks and a removal: the verdicts, by name."""
    reaping = reaper(pool)
    time.sleep(1.1)  # what is made in this second is not older than it
    reaping.find()
    return verdicts(reaping.remove(reaping.find()))


def test_what_builds_and_addresses_have_left_is_removed(pool: Pool) -> None:
    owned, owned_ip = pool.build(), pool.ip()
    job = Job("unique", "H:host:1")
    mark = Mark.for_job("libra", job)
    left = pool.openstack.create_device("libra-left", mark)
    pool.openstack.wait_ready(left)
    ip = pool.openstack.create_ip(mark)
    pool.openstack.create_device("libra-other", Mark.for_job("other", job))

    assert reaped(pool) == {"libra-left": "removed", ip.address: "removed"}
    names = {server["name"] for server in pool.cloud.servers}
    assert names == {owned["name"], "libra-other"}
    assert pool.only_ip()["floating_ip_address"] == owned_ip["ip"]


def test_an_address_goes_when_its_device_was_deleted_by_hand(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    gone, stays = pool.build(), pool.build()
    own = pool.ip()
    ids = {server["name"]: server["id"] for server in pool.cloud.servers}
    assert reaped(pool) == {}

    connection = pool.cloud.connect()
    connection.compute.delete_server(ids[str(gone["name"])])
    done = reaped(pool)

    assert done == {gone["addr"]: "removed"}
    left = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert left == {stays["addr"], own["ip"]}


def test_a_list_with_a_hole_costs_no_address(pools: Pools) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    built = pool.build()
    own = pool.openstack.find_ip(str(built["addr"]))
    assert own is not None
    pool.openstack.detach_ip(own)  # as somebody may do by hand
    reaping = reaper(pool)
    time.sleep(1.1)
    # Nova forgets the server for two looks, and has it in the end.
    pool.fault(
        Fault(
            method="GET",
            path=DETAILS,
            times=2,
            status=200,
            body={"servers": []},
        )
    )

    reaping.find()
    done = reaping.remove(reaping.find())

    assert [case.verdict for case in done] == ["kept"]
    assert pool.only_ip()["floating_ip_address"] == built["addr"]
