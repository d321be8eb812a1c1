"""What the loopback cloud's Nova makes servers of, and what it refuses."""

from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import NOBODY, Caller, message_of


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


def test_a_server_has_at_most_128_metadata_items(caller: Caller) -> None:
    many = {str(number): "x" for number in range(129)}

    answer = caller.post_server(metadata=many)

    assert answer.status_code == 403
    assert message_of(answer) == "Maximum number of metadata items exceeds 128"


def test_no_server_gets_a_port_on_an_external_network(
    caller: Caller,
) -> None:
    public = caller.cloud.ids["public"]

    answer = caller.post_server(networks=[{"uuid": public}])

    assert answer.status_code == 403
    assert "external network" in message_of(answer)


def test_networks_can_be_left_to_nova(caller: Caller) -> None:
    chosen, none = (
        caller.server(caller.new_server(networks=networks))["addresses"]
        for networks in ("auto", "none")
    )

    assert list(chosen) == ["private"]
    assert none == {}


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


# -- quotas ----------------------------------------------------------------


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
