"""Tests of the loopback cloud's servers: boot, changes, deletion."""

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import UNKNOWN_ID, Caller, message_of


def test_the_sdk_builds_and_deletes_a_server(cloud: LoopbackCloud) -> None:
    connection = cloud.connect()
    created = connection.compute.create_server(
        name="lb-1",
        image_id=cloud.ids["tiny"],
        flavor_id=cloud.ids["m1.nano"],
        networks=[{"uuid": cloud.ids["private"]}],
    )
    server = connection.compute.wait_for_server(created, interval=0.01)
    connection.compute.delete_server(server)
    connection.compute.wait_for_delete(server, interval=0.01)

    assert server.status == "ACTIVE"
    assert [a["OS-EXT-IPS:type"] for a in server.addresses["private"]] == [
        "fixed"
    ]
    assert not cloud.servers
    assert not cloud.ports


@pytest.mark.cloud(boot_time=60)
def test_a_server_has_no_addresses_while_it_boots(caller: Caller) -> None:
    server_id = caller.create_server(availability_zone="az2")

    booting = caller.get_server(server_id)

    assert booting["status"] == "BUILD"
    assert booting["addresses"] == {}
    assert booting["OS-EXT-AZ:availability_zone"] == ""

    caller.cloud.advance(60)

    booted = caller.get_server(server_id)
    assert booted["status"] == "ACTIVE"
    assert booted["addresses"]["private"][0]["addr"].startswith("10.20.")
    assert booted["OS-EXT-AZ:availability_zone"] == "az2"


@pytest.mark.cloud(address_delay=60)
def test_addresses_can_appear_after_the_boot(caller: Caller) -> None:
    server_id = caller.boot_server()
    assert caller.get_server(server_id)["addresses"] == {}

    caller.cloud.advance(60)

    assert "private" in caller.get_server(server_id)["addresses"]


@pytest.mark.cloud(private_range_v6="fd00:20::/64")
def test_a_network_can_have_both_ip_versions(caller: Caller) -> None:
    addresses = caller.get_server(caller.boot_server())["addresses"]

    assert [a["version"] for a in addresses["private"]] == [4, 6]


@pytest.mark.cloud(private_range=None, private_range_v6="fd00:20::/64")
def test_a_network_can_be_ipv6_only(caller: Caller) -> None:
    server_id = caller.boot_server()

    (address,) = caller.get_server(server_id)["addresses"]["private"]

    assert address["version"] == 6
    refused = caller.post_ip(port_id=caller.find_port(server_id))
    assert refused.status_code == 400


def test_new_metadata_is_merged_with_the_old(caller: Caller) -> None:
    server_id = caller.boot_server(metadata={"a": "1"})
    path = f"/servers/{server_id}/metadata"

    merged = caller.compute("POST", path, json={"metadata": {"b": "2"}})
    assert merged.json() == {"metadata": {"a": "1", "b": "2"}}
    assert caller.get_server(server_id)["metadata"] == {"a": "1", "b": "2"}


def test_tags_are_added_and_removed(caller: Caller) -> None:
    server_id = caller.boot_server(tags=["a"])
    tags = f"/servers/{server_id}/tags"

    def call(method: str, path: str) -> int:
        return int(caller.compute(method, path).status_code)

    assert call("PUT", f"{tags}/b") == 201
    assert call("PUT", f"{tags}/b") == 204
    assert caller.get_server(server_id)["tags"] == ["a", "b"]
    assert call("DELETE", f"{tags}/a") == 204
    assert call("DELETE", f"{tags}/a") == 404
    assert caller.get_server(server_id)["tags"] == ["b"]


@pytest.mark.cloud(boot_time=60)
def test_metadata_and_tags_of_a_booting_server_cannot_change(
    caller: Caller,
) -> None:
    path = f"/servers/{caller.create_server()}"

    metadata = caller.compute(
        "POST", f"{path}/metadata", json={"metadata": {"a": "1"}}
    )
    tag = caller.compute("PUT", f"{path}/tags/a")

    assert metadata.status_code == tag.status_code == 409
    assert "while it is in vm_state building" in message_of(metadata)


def test_the_console_output_can_be_read(caller: Caller) -> None:
    path = f"/servers/{caller.boot_server()}/action"

    answer = caller.compute("POST", path, json={"os-getConsoleOutput": {}})
    unknown = caller.compute("POST", path, json={"colour": {}})

    assert "lb-1" in answer.json()["output"]
    assert unknown.status_code == 400


def test_unknown_servers_and_paths_are_answered_with_404(
    caller: Caller,
) -> None:
    answer = caller.compute("GET", f"/servers/{UNKNOWN_ID}")
    assert answer.status_code == 404
    assert message_of(answer) == f"Instance {UNKNOWN_ID} could not be found."
    unknown = caller.compute("GET", "/nowhere")
    assert unknown.status_code == 404
    assert unknown.text.startswith("<html>")
    assert caller.compute("PUT", "/servers", json={}).status_code == 405


@pytest.mark.cloud(delete_time=60)
def test_a_deleted_server_disappears_after_its_delete_time(
    caller: Caller,
) -> None:
    server_id = caller.boot_server()
    path = f"/servers/{server_id}"

    assert caller.compute("DELETE", path).status_code == 204
    assert caller.compute("DELETE", path).status_code == 204
    assert caller.get_server(server_id)["OS-EXT-STS:task_state"] == "deleting"

    caller.cloud.advance(60)

    assert caller.compute("GET", path).status_code == 404
    assert caller.compute("DELETE", path).status_code == 404


@pytest.mark.cloud(boot_time=60)
def test_a_booting_server_is_deleted_after_its_boot(caller: Caller) -> None:
    server_id = caller.create_server()

    caller.compute("DELETE", f"/servers/{server_id}")

    deleting = caller.get_server(server_id)
    assert deleting["status"] == "BUILD"
    assert deleting["OS-EXT-STS:task_state"] == "deleting"
    caller.cloud.advance(60)
    assert not caller.cloud.servers
