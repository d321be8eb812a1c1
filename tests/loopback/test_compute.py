"""The loopback cloud's compute behaves as Nova does."""

from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import NOBODY, Caller, message_of
from tests.polling import until


def test_the_sdk_builds_and_deletes_a_server(cloud: LoopbackCloud) -> None:
    connection = cloud.connect()
    made = connection.compute.create_server(
        name="lb-1",
        image_id=cloud.ids["tiny"],
        flavor_id=cloud.ids["m1.nano"],
        networks=[{"uuid": cloud.ids["private"]}],
    )
    server = connection.compute.wait_for_server(made, interval=0.01)
    connection.compute.delete_server(server)
    connection.compute.wait_for_delete(server, interval=0.01)

    assert server.status == "ACTIVE"
    assert [a["OS-EXT-IPS:type"] for a in server.addresses["private"]] == [
        "fixed"
    ]
    assert not cloud.servers
    assert not cloud.ports


def test_the_answer_to_a_create_has_little_in_it(caller: Caller) -> None:
    answer = caller.post_server()

    assert answer.status_code == 202
    assert set(answer.json()["server"]) == {
        "id",
        "links",
        "adminPass",
        "OS-DCF:diskConfig",
        "security_groups",
    }


@pytest.mark.cloud(boot_time=0.2)
def test_a_server_has_no_addresses_while_it_boots(caller: Caller) -> None:
    server_id = caller.new_server(availability_zone="az2")

    booting = caller.server(server_id)

    assert booting["status"] == "BUILD"
    assert booting["addresses"] == {}
    assert booting["OS-EXT-AZ:availability_zone"] == ""
    until(lambda: caller.server(server_id)["status"] == "ACTIVE")
    booted = caller.server(server_id)
    assert booted["addresses"]["private"][0]["addr"].startswith("10.20.")
    assert booted["OS-EXT-AZ:availability_zone"] == "az2"


@pytest.mark.cloud(address_delay=0.1)
def test_addresses_can_come_later_than_the_boot(caller: Caller) -> None:
    server_id = caller.active_server()

    assert caller.server(server_id)["addresses"] == {}
    until(lambda: "private" in caller.server(server_id)["addresses"])


@pytest.mark.cloud(private_range_v6="fd00:20::/64")
def test_a_network_can_have_both_ip_versions(caller: Caller) -> None:
    addresses = caller.server(caller.active_server())["addresses"]

    assert [a["version"] for a in addresses["private"]] == [4, 6]


@pytest.mark.cloud(private_range=None, private_range_v6="fd00:20::/64")
def test_a_network_can_be_ipv6_only(caller: Caller) -> None:
    server_id = caller.active_server()

    (address,) = caller.server(server_id)["addresses"]["private"]

    assert address["version"] == 6
    refused = caller.post_ip(port_id=caller.port_of(server_id))
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("imageRef", NOBODY, "Can not find requested image"),
        ("imageRef", "tiny", "is not valid under any of the given schemas"),
        ("flavorRef", "nope", "Flavor nope could not be found."),
        ("key_name", "nope", "Invalid key_name provided."),
        ("networks", [{"uuid": NOBODY}], f"Network {NOBODY} could not be"),
        ("networks", None, "'networks' is a required property"),
        ("availability_zone", "x", "availability zone is not available"),
        ("security_groups", [{"name": "x"}], "security_group with name or id"),
        ("name", "", "'' should be non-empty"),
        ("name", " lb", "Can not start or end with whitespace"),
        ("metadata", {"a": "x" * 256}, "is too long"),
        ("metadata", {"a": 1}, "1 is not of type 'string'"),
        ("metadata", {"a/b": "x"}, "does not match any of the regexes"),
        ("tags", ["x" * 61], "is too long"),
        ("tags", ["a,b"], "does not match '^[^,/]*$'"),
        ("user_data", "abc", "is not a 'base64'"),
        ("colour", "red", "'colour' was unexpected"),
    ],
)
def test_what_nova_does_not_take_is_refused_in_its_words(
    caller: Caller, field: str, value: Any, message: str
) -> None:
    answer = caller.post_server(**{field: value})

    assert answer.status_code == 400
    assert answer.json()["badRequest"]["code"] == 400
    assert message in message_of(answer)
    assert not caller.cloud.servers


def test_an_unknown_server_group_is_refused(caller: Caller) -> None:
    ids = caller.cloud.ids
    server = {
        "name": "lb-1",
        "imageRef": ids["tiny"],
        "flavorRef": ids["m1.nano"],
        "networks": "auto",
    }

    def post(group: str) -> int:
        hints = {"group": group}
        body = {"server": server, "os:scheduler_hints": hints}
        return int(caller.compute("POST", "/servers", json=body).status_code)

    assert post(NOBODY) == 400
    assert post(ids["apart"]) == 202
    (made,) = caller.cloud.servers
    assert made["server_groups"] == [ids["apart"]]


def test_fields_are_known_from_their_microversion_on(caller: Caller) -> None:
    old = caller.connection.compute
    old.default_microversion = "2.51"

    assert "'tags' was unexpected" in message_of(caller.post_server(tags=[]))


@pytest.mark.cloud(max_microversion="2.90")
def test_a_microversion_that_is_too_new_is_refused(caller: Caller) -> None:
    new = caller.compute("GET", "/servers", microversion="2.91")
    newest = caller.compute("GET", "/servers", microversion="2.90")

    assert new.status_code == 406
    assert "maximum is 2.90" in message_of(new)
    assert newest.headers["OpenStack-API-Version"] == "compute 2.90"


@pytest.mark.cloud(instances=1)
def test_a_spent_quota_of_servers_is_a_403(caller: Caller) -> None:
    caller.new_server()

    answer = caller.post_server()

    assert answer.status_code == 403
    assert answer.json()["forbidden"]["message"] == (
        "Quota exceeded for instances: Requested 1, but already used 1 of 1 "
        "instances"
    )
    used = caller.compute("GET", "/limits").json()["limits"]["absolute"]
    assert used["totalInstancesUsed"] == used["maxTotalInstances"] == 1


@pytest.mark.cloud(instances=0)
def test_a_quota_can_be_raised(caller: Caller, cloud: LoopbackCloud) -> None:
    assert caller.post_server().status_code == 403

    cloud.set_quota(instances=1)

    assert caller.post_server().status_code == 202


@pytest.mark.cloud(ports=1)
def test_a_spent_quota_of_ports_shows_only_in_an_error(
    caller: Caller,
) -> None:
    caller.new_server()

    late = caller.server(caller.new_server())

    assert late["status"] == "ERROR"
    assert late["fault"]["code"] == 500
    assert "Maximum number of ports exceeded" in late["fault"]["message"]


# -- lists ------------------------------------------------------------------


def test_the_name_filter_is_a_regular_expression(caller: Caller) -> None:
    for name in ("lb-1", "lb-10", "my-LB-1"):
        caller.new_server(name)

    assert caller.names(name="lb-1") == ["my-LB-1", "lb-10", "lb-1"]
    assert caller.names(name="^lb-1$") == ["lb-1"]
    assert caller.names(name="lb.1") == ["my-LB-1", "lb-10", "lb-1"]
    bad = caller.compute("GET", "/servers", params={"name": "["})
    assert bad.status_code == 400


def test_servers_are_found_by_tags_and_status(caller: Caller) -> None:
    caller.new_server("a", tags=["pool", "job-1"])
    caller.new_server("b", tags=["pool"])
    failed = caller.new_server("c")
    caller.cloud.fail_server(failed)

    assert caller.names(tags="pool,job-1") == ["a"]
    assert caller.names(**{"tags-any": "pool,job-1"}) == ["b", "a"]
    assert caller.names(**{"not-tags": "pool"}) == ["c"]
    assert caller.names(status="error") == ["c"]
    bad = caller.compute("GET", "/servers", params={"status": "bogus"})
    assert message_of(bad) == "Invalid status value"


@pytest.mark.cloud(max_limit=2)
def test_a_long_list_comes_in_pages(caller: Caller) -> None:
    for number in range(5):
        caller.new_server(f"lb-{number}")
    seen, url = [], "/servers/detail?name=lb"

    while url:
        page = caller.compute("GET", url).json()
        seen.append([server["name"] for server in page["servers"]])
        links = page.get("servers_links", [])
        url = links[0]["href"] if links else ""

    assert seen == [["lb-4", "lb-3"], ["lb-2", "lb-1"], ["lb-0"]]
    lost = caller.compute("GET", "/servers", params={"marker": NOBODY})
    assert message_of(lost) == f"marker [{NOBODY}] not found"


def test_changes_since_shows_what_was_deleted(caller: Caller) -> None:
    gone = caller.active_server()
    caller.compute("DELETE", f"/servers/{gone}")
    until(lambda: not caller.cloud.servers)

    since = {"changes-since": "2026-01-01T00:00:00Z"}
    (server,) = caller.compute("GET", "/servers/detail", params=since).json()[
        "servers"
    ]

    assert (server["id"], server["status"]) == (gone, "DELETED")
    assert caller.names() == []


def test_an_unknown_filter_is_refused(caller: Caller) -> None:
    answer = caller.compute("GET", "/servers", params={"colour": "red"})

    assert answer.status_code == 400


# -- what is done to a server -----------------------------------------------


def test_metadata_is_merged_and_replaced(caller: Caller) -> None:
    server_id = caller.active_server(metadata={"a": "1"})
    path = f"/servers/{server_id}/metadata"

    merged = caller.compute("POST", path, json={"metadata": {"b": "2"}})
    assert merged.json() == {"metadata": {"a": "1", "b": "2"}}
    assert caller.server(server_id)["metadata"] == {"a": "1", "b": "2"}
    caller.compute("PUT", path, json={"metadata": {"c": "3"}})
    assert caller.compute("GET", path).json() == {"metadata": {"c": "3"}}


def test_tags_are_added_and_removed(caller: Caller) -> None:
    tags = f"/servers/{caller.active_server(tags=['a'])}/tags"

    def call(method: str, path: str) -> int:
        return int(caller.compute(method, path).status_code)

    assert call("PUT", f"{tags}/b") == 201
    assert call("PUT", f"{tags}/b") == 204
    assert call("GET", f"{tags}/b") == 204
    assert caller.compute("GET", tags).json() == {"tags": ["a", "b"]}
    assert call("DELETE", f"{tags}/a") == 204
    assert call("DELETE", f"{tags}/a") == 404
    caller.compute("PUT", tags, json={"tags": ["c"]})
    assert caller.compute("GET", tags).json() == {"tags": ["c"]}


@pytest.mark.cloud(boot_time=20)
def test_neither_metadata_nor_tags_change_while_it_boots(
    caller: Caller,
) -> None:
    path = f"/servers/{caller.new_server()}"

    metadata = caller.compute(
        "POST", f"{path}/metadata", json={"metadata": {"a": "1"}}
    )
    tag = caller.compute("PUT", f"{path}/tags/a")

    assert metadata.status_code == tag.status_code == 409
    assert "while it is in vm_state building" in message_of(metadata)


@pytest.mark.cloud(delete_time=0.1)
def test_a_server_is_deleted_in_its_time(caller: Caller) -> None:
    server_id = caller.active_server()
    path = f"/servers/{server_id}"

    assert caller.compute("DELETE", path).status_code == 204
    assert caller.compute("DELETE", path).status_code == 204
    assert caller.server(server_id)["OS-EXT-STS:task_state"] == "deleting"
    until(lambda: caller.compute("GET", path).status_code == 404)
    assert caller.compute("DELETE", path).status_code == 404


@pytest.mark.cloud(boot_time=0.2)
def test_a_delete_while_it_boots_waits_for_the_boot(caller: Caller) -> None:
    server_id = caller.new_server()

    caller.compute("DELETE", f"/servers/{server_id}")

    deleting = caller.server(server_id)
    assert deleting["status"] == "BUILD"
    assert deleting["OS-EXT-STS:task_state"] == "deleting"
    until(lambda: not caller.cloud.servers)


def test_the_console_can_be_read(caller: Caller) -> None:
    path = f"/servers/{caller.active_server()}/action"

    answer = caller.compute("POST", path, json={"os-getConsoleOutput": {}})
    nova_network = caller.compute("POST", path, json={"addFloatingIp": {}})

    assert "lb-1" in answer.json()["output"]
    assert nova_network.status_code == 404


def test_what_servers_are_made_from_can_be_looked_up(caller: Caller) -> None:
    def get(path: str) -> object:
        answer = caller.compute("GET", path)
        assert answer.status_code == 200
        return answer.json()

    nano = caller.cloud.ids["m1.nano"]
    assert nano in str(get("/flavors"))
    assert "512" in str(get("/flavors/detail"))
    assert "m1.nano" in str(get(f"/flavors/{nano}"))
    assert "poolkey" in str(get("/os-keypairs"))
    assert "ssh-ed25519" in str(get("/os-keypairs/poolkey"))
    assert "az2" in str(get("/os-availability-zone"))
    assert "anti-affinity" in str(get("/os-server-groups"))
    assert caller.compute("GET", "/os-keypairs/nope").status_code == 404
    assert caller.compute("GET", "/flavors/nope").status_code == 404


def test_images_are_found_by_name_and_by_ids(caller: Caller) -> None:
    image, ids = caller.connection.image, caller.cloud.ids

    def names(**query: str) -> list[str]:
        found = image.get("/images", params=query).json()["images"]
        return [each["name"] for each in found]

    assert names() == ["tiny", "tiny-2"]
    assert names(name="tiny-2") == ["tiny-2"]
    assert names(id=f"in:{ids['tiny']},{NOBODY}") == ["tiny"]
    assert image.get(f"/images/{ids['tiny']}").json()["name"] == "tiny"
    missing = image.get(f"/images/{NOBODY}")
    assert missing.status_code == 404
    assert missing.text.startswith("<html>")


def test_networks_can_be_left_to_nova(caller: Caller) -> None:
    chosen, none = (
        caller.server(caller.new_server(networks=networks))["addresses"]
        for networks in ("auto", "none")
    )

    assert list(chosen) == ["private"]
    assert none == {}


def test_no_server_gets_a_port_on_an_external_network(
    caller: Caller,
) -> None:
    public = caller.cloud.ids["public"]

    answer = caller.post_server(networks=[{"uuid": public}])

    assert answer.status_code == 403
    assert "external network" in message_of(answer)


def test_a_server_has_at_most_128_metadata_items(caller: Caller) -> None:
    many = {str(number): "x" for number in range(129)}

    answer = caller.post_server(metadata=many)

    assert answer.status_code == 403
    assert message_of(answer) == "Maximum number of metadata items exceeds 128"


def test_a_page_can_be_made_smaller(caller: Caller) -> None:
    caller.new_server("a")
    caller.new_server("b")

    assert caller.names(limit=1) == ["b"]
    bad = caller.compute("GET", "/servers", params={"limit": "-1"})
    assert "'-1' does not match" in message_of(bad)


def test_what_is_not_there_is_a_404(caller: Caller) -> None:
    for path in (f"/servers/{NOBODY}", f"/servers/{NOBODY}/metadata"):
        answer = caller.compute("GET", path)
        assert answer.status_code == 404
        assert message_of(answer) == f"Instance {NOBODY} could not be found."
    unknown = caller.compute("GET", "/nowhere")
    assert unknown.status_code == 404
    assert unknown.text.startswith("<html>")
    assert caller.compute("PUT", "/servers", json={}).status_code == 405
