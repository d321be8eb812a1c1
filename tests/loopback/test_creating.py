"""Tests of the creation of servers in the loopback cloud."""

from typing import Any

import pytest

from poolmgr.testing.openstack import LoopbackCloud
from tests.loopback.caller import UNKNOWN_ID, Caller, message_of


def test_the_answer_to_a_creation_is_not_a_full_server(caller: Caller) -> None:
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
        ("imageRef", UNKNOWN_ID, "Can not find requested image"),
        ("imageRef", "tiny", "is not valid under any of the given schemas"),
        ("flavorRef", "nope", "Flavor nope could not be found."),
        ("key_name", "nope", "Invalid key_name provided."),
        (
            "networks",
            [{"uuid": UNKNOWN_ID}],
            f"Network {UNKNOWN_ID} could not be",
        ),
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
def test_an_invalid_server_is_refused_with_novas_message(
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

    def create_in(group: str) -> int:
        hints = {"group": group}
        body = {"server": server, "os:scheduler_hints": hints}
        return int(caller.compute("POST", "/servers", json=body).status_code)

    assert create_in(UNKNOWN_ID) == 400
    assert create_in(ids["apart"]) == 202
    (created,) = caller.cloud.servers
    assert created["server_groups"] == [ids["apart"]]


def test_a_server_has_at_most_128_metadata_items(caller: Caller) -> None:
    many = {str(number): "x" for number in range(129)}

    answer = caller.post_server(metadata=many)

    assert answer.status_code == 403
    assert message_of(answer) == "Maximum number of metadata items exceeds 128"


def test_a_server_on_an_external_network_is_refused(
    caller: Caller,
) -> None:
    public = caller.cloud.ids["public"]

    answer = caller.post_server(networks=[{"uuid": public}])

    assert answer.status_code == 403
    assert "external network" in message_of(answer)


def test_networks_can_be_auto_or_none(caller: Caller) -> None:
    auto, none = (
        caller.get_server(caller.create_server(networks=networks))["addresses"]
        for networks in ("auto", "none")
    )

    assert list(auto) == ["private"]
    assert none == {}


def test_tags_are_refused_before_their_microversion(caller: Caller) -> None:
    compute = caller.connection.compute
    compute.default_microversion = "2.51"

    assert "'tags' was unexpected" in message_of(caller.post_server(tags=[]))


@pytest.mark.cloud(max_microversion="2.90")
def test_a_microversion_above_the_maximum_is_refused(caller: Caller) -> None:
    above = caller.compute("GET", "/servers", microversion="2.91")
    newest = caller.compute("GET", "/servers", microversion="2.90")

    assert above.status_code == 406
    assert "maximum is 2.90" in message_of(above)
    assert newest.headers["OpenStack-API-Version"] == "compute 2.90"


@pytest.mark.cloud(instances=1)
def test_a_server_beyond_the_quota_is_refused_with_403(caller: Caller) -> None:
    caller.create_server()

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
def test_a_server_beyond_the_port_quota_ends_in_error(
    caller: Caller,
) -> None:
    caller.create_server()

    failed = caller.get_server(caller.create_server())

    assert failed["status"] == "ERROR"
    assert failed["fault"]["code"] == 500
    assert "Maximum number of ports exceeded" in failed["fault"]["message"]
