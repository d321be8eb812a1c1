"""Tests of the loopback cloud's floating IPs, ports and networks."""

import pytest

from tests.loopback.caller import UNKNOWN_ID, Caller, message_of


def type_of(answer: object) -> str:
    """Return the type of Neutron's refusal."""
    return str(answer.json()["NeutronError"]["type"])  # type: ignore[attr-defined]


def test_an_attached_floating_ip_is_an_address_of_its_server(
    caller: Caller,
) -> None:
    server_id = caller.boot_server()
    port_id = caller.find_port(server_id)
    created = caller.create_ip(description="mine")

    answer = caller.put_ip(created["id"], port_id=port_id).json()["floatingip"]

    assert (created["status"], created["revision_number"]) == ("DOWN", 0)
    assert (answer["status"], answer["revision_number"]) == ("DOWN", 1)
    now = caller.get_ip(created["id"])
    assert (now["status"], now["revision_number"]) == ("ACTIVE", 2)
    assert now["port_details"]["device_id"] == server_id
    addresses = caller.get_server(server_id)["addresses"]["private"]
    assert [a["OS-EXT-IPS:type"] for a in addresses] == ["fixed", "floating"]
    assert addresses[1]["addr"] == created["floating_ip_address"]
    assert len({a["OS-EXT-IPS-MAC:mac_addr"] for a in addresses}) == 1


@pytest.mark.cloud(floating_delay=60)
def test_nova_shows_a_floating_ip_after_a_delay(caller: Caller) -> None:
    server_id = caller.boot_server()
    caller.create_ip(port_id=caller.find_port(server_id))

    def list_types() -> list[str]:
        entries = caller.get_server(server_id)["addresses"]["private"]
        return [entry["OS-EXT-IPS:type"] for entry in entries]

    assert list_types() == ["fixed"]
    caller.cloud.advance(60)
    assert list_types() == ["fixed", "floating"]


def test_a_change_of_an_outdated_revision_is_refused(caller: Caller) -> None:
    ip_id = caller.create_ip()["id"]
    caller.put_ip(ip_id, description="changed by somebody")

    answer = caller.put_ip(ip_id, revision=0, description="changed by me")

    assert answer.status_code == 412
    assert type_of(answer) == "RevisionNumberConstraintFailed"
    assert message_of(answer) == "Constrained to 0, but current revision is 1"
    assert caller.put_ip(ip_id, 1, description="mine").status_code == 200
    old = {"If-Match": "revision_number=0"}
    path = f"/floatingips/{ip_id}"
    assert caller.network("DELETE", path, headers=old).status_code == 412


def test_attaching_a_floating_ip_in_use_moves_it(caller: Caller) -> None:
    first, second = caller.boot_server("a"), caller.boot_server("b")
    ip_id = caller.create_ip(port_id=caller.find_port(first))["id"]

    answer = caller.put_ip(ip_id, port_id=caller.find_port(second))

    assert answer.status_code == 200
    assert caller.get_ip(ip_id)["port_details"]["device_id"] == second
    assert len(caller.get_server(first)["addresses"]["private"]) == 1
    assert len(caller.get_server(second)["addresses"]["private"]) == 2


def test_a_second_floating_ip_on_a_fixed_ip_is_refused(
    caller: Caller,
) -> None:
    port_id = caller.find_port(caller.boot_server())
    caller.create_ip(port_id=port_id)

    answer = caller.put_ip(caller.create_ip()["id"], port_id=port_id)

    assert answer.status_code == 409
    assert type_of(answer) == "FloatingIPPortAlreadyAssociated"


def test_attaching_to_an_unknown_or_unreachable_port_is_refused(
    caller: Caller,
) -> None:
    ids = caller.cloud.ids
    isolated = caller.boot_server(networks=[{"uuid": ids["isolated"]}])
    ip_id = caller.create_ip()["id"]

    unknown = caller.put_ip(ip_id, port_id=UNKNOWN_ID)
    unreachable = caller.put_ip(ip_id, port_id=caller.find_port(isolated))

    assert (unknown.status_code, type_of(unknown)) == (404, "PortNotFound")
    assert unreachable.status_code == 404
    assert type_of(unreachable) == "ExternalGatewayForFloatingIPNotFound"


def test_a_fixed_ip_of_the_port_can_be_chosen(caller: Caller) -> None:
    server_id = caller.boot_server()
    port_id = caller.find_port(server_id)
    fixed = caller.get_server(server_id)["addresses"]["private"][0]["addr"]
    ip_id = caller.create_ip()["id"]

    wrong = caller.put_ip(ip_id, port_id=port_id, fixed_ip_address="10.9.9.9")
    right = caller.put_ip(ip_id, port_id=port_id, fixed_ip_address=fixed)

    assert wrong.status_code == 400
    assert right.json()["floatingip"]["fixed_ip_address"] == fixed


def test_detaching_a_floating_ip_twice_succeeds(caller: Caller) -> None:
    ip_id = caller.create_ip(port_id=caller.find_port(caller.boot_server()))[
        "id"
    ]
    caller.get_ip(ip_id)

    answer = caller.put_ip(ip_id, port_id=None).json()["floatingip"]

    assert (answer["port_id"], answer["status"]) == (None, "ACTIVE")
    assert caller.get_ip(ip_id)["status"] == "DOWN"
    assert caller.put_ip(ip_id, port_id=None).status_code == 200


def test_deleting_a_server_detaches_its_floating_ip(caller: Caller) -> None:
    server_id = caller.boot_server()
    ip_id = caller.create_ip(port_id=caller.find_port(server_id))["id"]
    before = caller.get_ip(ip_id)["revision_number"]

    caller.cloud.remove_server(server_id)

    after = caller.get_ip(ip_id)
    assert (after["port_id"], after["port_details"]) == (None, None)
    assert after["revision_number"] > before
    assert not caller.cloud.ports


def test_an_attached_floating_ip_can_be_deleted(caller: Caller) -> None:
    server_id = caller.boot_server()
    ip_id = caller.create_ip(port_id=caller.find_port(server_id))["id"]
    path = f"/floatingips/{ip_id}"

    assert caller.network("DELETE", path).status_code == 204
    again = caller.network("DELETE", path)

    assert (again.status_code, type_of(again)) == (404, "FloatingIPNotFound")
    assert len(caller.get_server(server_id)["addresses"]["private"]) == 1


@pytest.mark.cloud(floating_ips=1)
def test_a_floating_ip_beyond_the_quota_is_refused_with_409(
    caller: Caller,
) -> None:
    caller.create_ip()

    answer = caller.post_ip()

    assert (answer.status_code, type_of(answer)) == (409, "OverQuota")
    assert message_of(answer) == (
        "Quota exceeded for resources: ['floatingip']."
    )


@pytest.mark.cloud(floating_range="198.18.0.0/30")
def test_deleting_a_floating_ip_frees_its_address(caller: Caller) -> None:
    ip = caller.create_ip()

    full = caller.post_ip()

    assert full.status_code == 409
    assert type_of(full) == "IpAddressGenerationFailure"
    caller.network("DELETE", f"/floatingips/{ip['id']}")
    assert (
        caller.create_ip()["floating_ip_address"] == ip["floating_ip_address"]
    )


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"description": "x" * 256}, 400, "exceeds maximum length of 255"),
        ({"colour": "red"}, 400, "Unrecognized attribute(s) 'colour'"),
        (
            {"floating_network_id": UNKNOWN_ID},
            404,
            f"Network {UNKNOWN_ID} could not",
        ),
        ({"floating_network_id": None}, 400, "'floating_network_id' not spec"),
    ],
)
def test_an_invalid_floating_ip_is_refused_with_neutrons_message(
    caller: Caller, fields: dict[str, object], status: int, message: str
) -> None:
    answer = caller.post_ip(**fields)

    assert answer.status_code == status
    assert message in message_of(answer)


def test_a_floating_ip_of_an_internal_network_is_refused(
    caller: Caller,
) -> None:
    private = caller.cloud.ids["private"]

    answer = caller.post_ip(floating_network_id=private)

    assert answer.status_code == 400
    assert "is not a valid external network" in message_of(answer)


def test_a_list_can_be_filtered_and_limited_to_fields(caller: Caller) -> None:
    first, second = caller.create_ip(description="a"), caller.create_ip()

    def get(**query: object) -> object:
        return caller.network("GET", "/floatingips", params=query).json()[
            "floatingips"
        ]

    address = second["floating_ip_address"]
    assert get(floating_ip_address=address) == [second]
    assert get(description="a", fields=["id", "port_id"]) == [
        {"id": first["id"], "port_id": None}
    ]
    assert get(floating_ip_address="192.0.2.1") == []
    bad = caller.network("GET", "/floatingips", params={"colour": "red"})
    assert bad.status_code == 400


def test_a_limit_splits_floating_ips_into_pages(caller: Caller) -> None:
    ids = [caller.create_ip()["id"] for _ in range(3)]

    page = caller.network("GET", "/floatingips?limit=2").json()
    (link,) = page["floatingips_links"]
    rest = caller.network("GET", link["href"]).json()

    assert [ip["id"] for ip in page["floatingips"]] == ids[:2]
    assert [ip["id"] for ip in rest["floatingips"]] == ids[2:]


def test_networks_and_security_groups_are_found_by_name(
    caller: Caller,
) -> None:
    def list_names(path: str, **query: object) -> list[str]:
        answer = caller.network("GET", path, params=query).json()
        return [each["name"] for each in next(iter(answer.values()))]

    assert list_names("/networks", **{"router:external": True}) == ["public"]
    assert list_names("/networks", name="private") == ["private"]
    assert list_names("/security-groups", name="pool") == ["pool"]
    assert "private-v4" in list_names("/subnets")
    answer = caller.network("GET", f"/networks/{caller.cloud.ids['private']}")
    assert answer.json()["network"]["router:external"] is False


def test_a_port_shows_its_server(caller: Caller) -> None:
    server_id = caller.boot_server()
    port_id = caller.find_port(server_id)

    port = caller.network("GET", f"/ports/{port_id}").json()["port"]

    assert port["device_id"] == server_id
    assert [each["id"] for each in caller.cloud.ports] == [port_id]
    assert caller.network("GET", f"/ports/{UNKNOWN_ID}").status_code == 404
    extensions = caller.network("GET", "/extensions").text
    assert "revision-if-match" in extensions


@pytest.mark.cloud(private_range="10.20.0.0/30")
def test_a_server_on_a_full_network_ends_in_error(
    caller: Caller,
) -> None:
    caller.boot_server()

    failed = caller.get_server(caller.create_server())

    assert failed["status"] == "ERROR"
    assert "Failed to allocate the network(s)" in failed["fault"]["message"]
    assert len(caller.cloud.ports) == 1


@pytest.mark.cloud(private_range="10.20.0.0/30", private_range_v6="fd00::/64")
def test_a_deleted_server_frees_its_addresses(caller: Caller) -> None:
    first = caller.boot_server()
    caller.create_server()
    caller.cloud.remove_server(first)

    addresses = caller.get_server(caller.boot_server())["addresses"]["private"]

    assert [address["version"] for address in addresses] == [4, 6]
