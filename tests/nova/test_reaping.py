"""Tests of the reaper on OpenStack."""

import time

from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault
from tests.nova.pools import DETAILS, Pool, Pools


def test_orphaned_devices_and_floating_ips_are_removed(pool: Pool) -> None:
    owned, owned_ip = pool.build(), pool.build_ip()
    job = Job("unique", "H:host:1")
    mark = Mark.for_job("libra", job)
    left = pool.openstack.create_device("libra-left", mark)
    pool.openstack.wait_ready(left)
    ip = pool.openstack.create_ip(mark)
    pool.openstack.create_device("libra-other", Mark.for_job("other", job))

    assert pool.reap() == {"libra-left": "removed", ip.address: "removed"}
    names = {server["name"] for server in pool.cloud.servers}
    assert names == {owned["name"], "libra-other"}
    assert pool.only_ip()["floating_ip_address"] == owned_ip["ip"]


def test_the_own_floating_ip_of_a_device_deleted_by_hand_is_removed(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    deleted, kept = pool.build(), pool.build()
    other_ip = pool.build_ip()
    ids = {server["name"]: server["id"] for server in pool.cloud.servers}
    assert pool.reap() == {}

    connection = pool.cloud.connect()
    connection.compute.delete_server(ids[str(deleted["name"])])
    removed = pool.reap()

    assert removed == {deleted["addr"]: "removed"}
    kept_ips = {ip["floating_ip_address"] for ip in pool.cloud.floating_ips}
    assert kept_ips == {kept["addr"], other_ip["ip"]}


def test_a_floating_ip_is_kept_while_lists_lack_its_device(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"device_floating_ip": True})
    device = pool.build()
    ip = pool.openstack.find_ip(str(device["addr"]))
    assert ip is not None
    pool.openstack.detach_ip(ip)  # as an operator may do by hand
    reaper = pool.reaper()
    time.sleep(1.1)
    # Nova's list lacks the server at both looks, but not at the removal.
    pool.fault(
        Fault(
            method="GET",
            path=DETAILS,
            times=2,
            status=200,
            body={"servers": []},
        )
    )

    reaper.find()
    done = reaper.remove(reaper.find())

    assert [case.verdict for case in done] == ["kept"]
    assert pool.only_ip()["floating_ip_address"] == device["addr"]
