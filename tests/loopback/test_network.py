"""The loopback cloud's floating IPs behave as Neutron's do."""

import pytest

from tests.loopback.caller import NOBODY, Caller, message_of


def kind_of(answer: object) -> str:
    """The type that Neutron gives a refusal."""
    return str(answer.json()["NeutronError"]["type"])  # type: ignore[attr-defined]


def test_a_floating_ip_shows_with_its_server(caller: Caller) -> None:
    server_id = caller.active_server()
    port_id = caller.port_of(server_id)
    made = caller.new_ip(description="mine")

    answer = caller.put_ip(made["id"], port_id=port_id).json()["floatingip"]

    assert (made["status"], made["revision_number"]) == ("DOWN", 0)
    assert (answer["status"], answer["revision_number"]) == ("DOWN", 1)
    now = caller.ip(made["id"])
    assert (now["status"], now["revision_number"]) == ("ACTIVE", 2)
    assert now["port_details"]["device_id"] == server_id
    addresses = caller.server(server_id)["addresses"]["private"]
    assert [a["OS-EXT-IPS:type"] for a in addresses] == ["fixed", "floating"]
    assert addresses[1]["addr"] == made["floating_ip_address"]
    assert len({a["OS-EXT-IPS-MAC:mac_addr"] for a in addresses}) == 1


@pytest.mark.cloud(floating_delay=60)
def test_nova_can_learn_late_of_a_floating_ip(caller: Caller) -> None:
    server_id = caller.active_server()
    caller.new_ip(port_id=caller.port_of(server_id))

    def kinds() -> list[str]:
        entries = caller.server(server_id)["addresses"]["private"]
        return [entry["OS-EXT-IPS:type"] for entry in entries]

    assert kinds() == ["fixed"]
    caller.cloud.advance(60)
    assert kinds() == ["fixed", "floating"]


def test_a_change_can_be_bound_to_a_revision(caller: Caller) -> None:
    ip_id = caller.new_ip()["id"]
    caller.put_ip(ip_id, description="changed by somebody")

    answer = caller.put_ip(ip_id, revision=0, description="changed by me")

    assert answer.status_code == 412
    assert kind_of(answer) == "RevisionNumberConstraintFailed"
    assert message_of(answer) == "Constrained to 0, but current revision is 1"
    assert caller.put_ip(ip_id, 1, description="mine").status_code == 200
    old = {"If-Match": "revision_number=0"}
    path = f"/floatingips/{ip_id}"
    assert caller.network("DELETE", path, headers=old).status_code == 412


def test_attaching_one_in_use_moves_it_silently(caller: Caller) -> None:
    first, second = caller.active_server("a"), caller.active_server("b")
    ip_id = caller.new_ip(port_id=caller.port_of(first))["id"]

    answer = caller.put_ip(ip_id, port_id=caller.port_of(second))

    assert answer.status_code == 200
    assert caller.ip(ip_id)["port_details"]["device_id"] == second
    assert len(caller.server(first)["addresses"]["private"]) == 1
    assert len(caller.server(second)["addresses"]["private"]) == 2


def test_a_second_one_on_the_same_fixed_ip_is_refused(
    caller: Caller,
) -> None:
    port_id = caller.port_of(caller.active_server())
    caller.new_ip(port_id=port_id)

    answer = caller.put_ip(caller.new_ip()["id"], port_id=port_id)

    assert answer.status_code == 409
    assert kind_of(answer) == "FloatingIPPortAlreadyAssociated"


def test_a_port_has_to_be_there_and_reachable(caller: Caller) -> None:
    ids = caller.cloud.ids
    apart = caller.active_server(networks=[{"uuid": ids["isolated"]}])
    ip_id = caller.new_ip()["id"]

    nobody = caller.put_ip(ip_id, port_id=NOBODY)
    unreachable = caller.put_ip(ip_id, port_id=caller.port_of(apart))

    assert (nobody.status_code, kind_of(nobody)) == (404, "PortNotFound")
    assert unreachable.status_code == 404
    assert kind_of(unreachable) == "ExternalGatewayForFloatingIPNotFound"


def test_one_of_several_fixed_ips_can_be_chosen(caller: Caller) -> None:
    server_id = caller.active_server()
    port_id = caller.port_of(server_id)
    fixed = caller.server(server_id)["addresses"]["private"][0]["addr"]
    ip_id = caller.new_ip()["id"]

    wrong = caller.put_ip(ip_id, port_id=port_id, fixed_ip_address="10.9.9.9")
    right = caller.put_ip(ip_id, port_id=port_id, fixed_ip_address=fixed)

    assert wrong.status_code == 400
    assert right.json()["floatingip"]["fixed_ip_address"] == fixed


def test_detaching_twice_is_no_error(caller: Caller) -> None:
    ip_id = caller.new_ip(port_id=caller.port_of(caller.active_server()))["id"]
    caller.ip(ip_id)

    answer = caller.put_ip(ip_id, port_id=None).json()["floatingip"]

    assert (answer["port_id"], answer["status"]) == (None, "ACTIVE")
    assert caller.ip(ip_id)["status"] == "DOWN"
    assert caller.put_ip(ip_id, port_id=None).status_code == 200


def test_a_floating_ip_outlives_its_server(caller: Caller) -> None:
    server_id = caller.active_server()
    ip_id = caller.new_ip(port_id=caller.port_of(server_id))["id"]
    before = caller.ip(ip_id)["revision_number"]

    caller.cloud.remove_server(server_id)

    after = caller.ip(ip_id)
    assert (after["port_id"], after["port_details"]) == (None, None)
    assert after["revision_number"] > before
    assert not caller.cloud.ports


def test_a_floating_ip_can_be_deleted_while_attached(caller: Caller) -> None:
    server_id = caller.active_server()
    ip_id = caller.new_ip(port_id=caller.port_of(server_id))["id"]
    path = f"/floatingips/{ip_id}"

    assert caller.network("DELETE", path).status_code == 204
    gone = caller.network("DELETE", path)

    assert (gone.status_code, kind_of(gone)) == (404, "FloatingIPNotFound")
    assert len(caller.server(server_id)["addresses"]["private"]) == 1


@pytest.mark.cloud(floating_ips=1)
def test_a_spent_quota_of_floating_ips_is_a_409(caller: Caller) -> None:
    caller.new_ip()

    answer = caller.post_ip()

    assert (answer.status_code, kind_of(answer)) == (409, "OverQuota")
    assert message_of(answer) == (
        "Quota exceeded for resources: ['floatingip']."
    )


@pytest.mark.cloud(floating_range="198.18.0.0/30")
def test_a_small_range_is_soon_exhausted(caller: Caller) -> None:
    ip = caller.new_ip()

    full = caller.post_ip()

    assert full.status_code == 409
    assert kind_of(full) == "IpAddressGenerationFailure"
    caller.network("DELETE", f"/floatingips/{ip['id']}")
    assert caller.new_ip()["floating_ip_address"] == ip["floating_ip_address"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"description": "x" * 256}, 400, "exceeds maximum length of 255"),
        ({"colour": "red"}, 400, "Unrecognized attribute(s) 'colour'"),
        ({"floating_network_id": NOBODY}, 404, f"Network {NOBODY} could not"),
        ({"floating_network_id": None}, 400, "'floating_network_id' not spec"),
    ],
)
def test_what_neutron_does_not_take_is_refused_in_its_words(
    caller: Caller, fields: dict[str, object], status: int, message: str
) -> None:
    answer = caller.post_ip(**fields)

    assert answer.status_code == status
    assert message in message_of(answer)


def test_a_floating_ip_is_only_from_an_external_network(
    caller: Caller,
) -> None:
    private = caller.cloud.ids["private"]

    answer = caller.post_ip(floating_network_id=private)

    assert answer.status_code == 400
    assert "is not a valid external network" in message_of(answer)


def test_lists_are_filtered_and_of_some_fields(caller: Caller) -> None:
    first, second = caller.new_ip(description="a"), caller.new_ip()

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


def test_a_list_comes_in_pages_when_asked_to(caller: Caller) -> None:
    made = [caller.new_ip()["id"] for _thrice in range(3)]

    page = caller.network("GET", "/floatingips?limit=2").json()
    (link,) = page["floatingips_links"]
    rest = caller.network("GET", link["href"]).json()

    assert [ip["id"] for ip in page["floatingips"]] == made[:2]
    assert [ip["id"] for ip in rest["floatingips"]] == made[2:]


def test_networks_and_groups_are_found_by_name(caller: Caller) -> None:
    def names(path: str, **query: object) -> list[str]:
        answer = caller.network("GET", path, params=query).json()
        return [each["name"] for each in next(iter(answer.values()))]

    assert names("/networks", **{"router:external": True}) == ["public"]
    assert names("/networks", name="private") == ["private"]
    assert names("/security-groups", name="pool") == ["pool"]
    assert "private-v4" in names("/subnets")
    one = caller.network("GET", f"/networks/{caller.cloud.ids['private']}")
    assert one.json()["network"]["router:external"] is False


def test_ports_show_where_their_server_is(caller: Caller) -> None:
    server_id = caller.active_server()
    port_id = caller.port_of(server_id)

    one = caller.network("GET", f"/ports/{port_id}").json()["port"]

    assert one["device_id"] == server_id
    assert [port["id"] for port in caller.cloud.ports] == [port_id]
    assert caller.network("GET", f"/ports/{NOBODY}").status_code == 404
    extensions = caller.network("GET", "/extensions").text
    assert "revision-if-match" in extensions


@pytest.mark.cloud(private_range="10.20.0.0/30")
def test_a_network_without_addresses_shows_in_an_error(
    caller: Caller,
) -> None:
    caller.active_server()

    late = caller.server(caller.new_server())

    assert late["status"] == "ERROR"
    assert "Failed to allocate the network(s)" in late["fault"]["message"]
    assert len(caller.cloud.ports) == 1


@pytest.mark.cloud(private_range="10.20.0.0/30", private_range_v6="fd00::/64")
def test_an_address_that_was_not_needed_is_put_back(caller: Caller) -> None:
    first = caller.active_server()
    caller.new_server()
    caller.cloud.remove_server(first)

    addresses = caller.server(caller.active_server())["addresses"]["private"]

    assert [address["version"] for address in addresses] == [4, 6]
