"""Malicious names, addresses and ids."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault
from tests.nova.pools import DETAILS, IPS, SERVERS, Pool, Pools, error_of
from tests.processes import poolmgr

NAMES: list[object] = [
    "",
    " ",
    ".",
    "..",
    "../os-keypairs/poolkey",
    "..%2fos-keypairs%2fpoolkey",
    "a/b",
    "a\\b",
    "a?x=1",
    "a#b",
    "a;b",
    "%2e%2e",
    "a b",
    "a\n",
    "\na",
    "a\0b",
    "a\x1b[2J",
    "a\u202eb",
    "a\u0085",
    "\ud800",
    "d\xe9tail",
    "\uff41",
    "-a",
    "a-",
    "_a",
    ".*",
    "^l",
    "a" * 64,
    "a" * 1_000_000,
    None,
    True,
    5,
    1.5,
    ["a"],
    {"name": "a"},
]
ADDRESSES: list[object] = [
    "",
    "../floatingips/x",
    "192.0.2.1/24",
    "192.0.2.1/../x",
    "192.0.2.1\n",
    " 192.0.2.1",
    "192.0.2.1&port_id=x",
    "192.0.2.01",
    "192.0.2",
    "192.0.2.1:80",
    "0xc0000201",
    "3221225985",
    "300.1.1.1",
    "\uff11\uff19\uff12.0.2.1",
    "fe80::1%eth0",
    "[::1]",
    "::1\x1b[2J",
    "example.com",
    "192.0.2.1" * 10_000,
    None,
    False,
    3221225985,
    ["192.0.2.1"],
    {"ip": "192.0.2.1"},
]


@pytest.fixture(scope="module")
def untouched() -> Iterator[Pool]:
    """Yield a pool on a cloud that must not receive any request."""
    with ExitStack() as stack:
        yield Pools(stack).new()


@pytest.fixture
def pool() -> Iterator[Pool]:
    with ExitStack() as stack:
        yield Pools(stack).new(short_timeout=3.0, long_timeout=3.0)


VALID = {"name": "libra-1", "ip": "198.18.0.2"}
FIELDS = {
    "DELETE_DEVICE": ("name",),
    "ASSIGN_IP": ("name", "ip"),
    "REMOVE_IP": ("name", "ip"),
    "DELETE_IP": ("ip",),
}


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        (action, field, value)
        for action, fields in FIELDS.items()
        for field in fields
        for value in (NAMES if field == "name" else ADDRESSES)
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_invalid_names_and_addresses_never_reach_the_cloud(
    untouched: Pool, action: str, field: str, value: object
) -> None:
    untouched.fails(action, "invalid_field", **{**VALID, field: value})

    assert untouched.cloud.calls == []


@pytest.mark.parametrize(
    ("action", "field"),
    [(action, field) for action, fields in FIELDS.items() for field in fields],
)
def test_a_missing_field_never_reaches_the_cloud(
    untouched: Pool, action: str, field: str
) -> None:
    others = {k: v for k, v in VALID.items() if k != field}

    untouched.fails(action, "invalid_field", **others)

    assert untouched.cloud.calls == []


@pytest.mark.parametrize(
    "which", ["../os-keypairs/poolkey", "detail", "..", "", "a\x1b[2J", "x\ny"]
)
def test_shown_names_are_not_used_as_paths(
    pool: Pool, tmp_path: Path, which: str
) -> None:
    clouds = pool.cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    environment = {"OS_CLIENT_CONFIG_FILE": str(clouds)}
    for kind in ("device", "ip"):
        done = poolmgr(
            "--os-cloud", "loopback", kind, "show", "--", which, **environment
        )

        assert done.returncode == 1
        assert done.stderr.startswith("poolmgr: there is no ")
        assert done.stderr.count("\n") == 1
        assert done.stderr.rstrip("\n").isprintable()
    assert {
        call.path
        for call in pool.cloud.calls
        if call.service in ("compute", "network")
    } <= {DETAILS, IPS, "", "/"}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x1b[2J", "http://127.0.0.1:1/", "", "x\ny"]
)
def test_a_cloud_name_is_not_used_as_a_path(
    pool: Pool, tmp_path: Path, name: str
) -> None:
    clouds = pool.cloud.write_clouds_yaml(tmp_path / "clouds.yaml")

    done = poolmgr(
        "--os-cloud",
        name,
        "build-ip",
        OS_CLIENT_CONFIG_FILE=str(clouds),
    )

    # An empty name is a usage error.
    assert (done.returncode, done.stdout) == (1 if name else 2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()
    assert pool.cloud.calls == []


#: Valid in JSON, but only half of a surrogate pair.
HALF_A_PAIR = "\ud800"
PATHS = [
    "..%2fos-keypairs%2fpoolkey",
    "a\\b",
    "a\x1b[2J",
    "../os-keypairs/poolkey",
    "..",
    ".",
    "",
    "a/b",
    "a?b=1",
    "a#b",
]


def fake_list(path: str, **answer: Any) -> Fault:
    """Return a fault that answers every list of this path."""
    return Fault("GET", path, status=200, body=answer, times=None)


def server(**fields: object) -> dict[str, Any]:
    """Return a server of the pool as Nova shows it."""
    return {
        "id": "d6e4c3c5-2d28-4d0b-8d94-1c5a5d0ad7f1",
        "name": "libra-1",
        "status": "ACTIVE",
        "metadata": {"poolmgr_pool": "libra", "poolmgr_state": "building"},
        "created": "2026-11-01T00:00:00Z",
        "addresses": {},
        **fields,
    }


def floating_ip(**fields: object) -> dict[str, Any]:
    """Return a floating IP of the pool as Neutron shows it."""
    return {
        "id": "0f8b5a54-6a0c-4f8a-b3d4-0a2b7dd7ac11",
        "floating_ip_address": "198.18.0.2",
        "port_id": None,
        "revision_number": 1,
        "description": "poolmgr pool=libra state=building",
        **fields,
    }


def changes_of(pool: Pool) -> list[tuple[str, str]]:
    """Return the requests that would change the cloud."""
    return [
        (call.method, call.path)
        for call in pool.cloud.calls
        if call.method != "GET" and call.service != "identity"
    ]


@pytest.mark.parametrize("id_", PATHS)
def test_a_malicious_server_id_is_not_used_as_a_path(
    pool: Pool, id_: str
) -> None:
    pool.fault(fake_list(DETAILS, servers=[server(id=id_)]))

    pool.fails("DELETE_DEVICE", "cloud_refused", name="libra-1")

    assert changes_of(pool) == []


@pytest.mark.parametrize("id_", PATHS)
def test_a_malicious_floating_ip_id_is_not_used_as_a_path(
    pool: Pool, id_: str
) -> None:
    device = pool.build()["name"]
    pool.cloud.forget_calls()
    pool.fault(fake_list(IPS, floatingips=[floating_ip(id=id_)]))

    for action in ("DELETE_IP", "ASSIGN_IP"):
        fields = {"ip": "198.18.0.2", "name": device}
        pool.fails(action, "cloud_refused", **fields)

    assert changes_of(pool) == []


def test_a_malicious_device_id_of_a_port_is_not_used_as_a_path(
    pool: Pool,
) -> None:
    attached = floating_ip(
        description="",
        port_id="p",
        port_details={"device_id": "../os-keypairs/poolkey"},
    )
    pool.fault(fake_list(IPS, floatingips=[attached]))

    pool.fails("DELETE_IP", "cloud_refused", ip="198.18.0.2")

    assert changes_of(pool) == []
    assert pool.cloud.count("GET", path=".*os-keypairs.*") == 0


def test_links_to_the_next_page_are_not_followed(
    pool: Pool,
) -> None:
    link = {"rel": "next", "href": f"{pool.cloud.url}/compute/os-keypairs"}
    page = {"servers": [server(id="x?y=/../z", name="other")]}
    pool.fault(
        Fault(
            "GET",
            DETAILS,
            status=200,
            body={**page, "servers_links": [link]},
        )
    )

    # The cloud does not know the marker, so the list is read again.
    pool.fails("DELETE_DEVICE", "not_found", name="libra-1")

    gets = [c for c in pool.cloud.calls if c.path == DETAILS]
    markers = [c.query.get("marker") for c in gets]
    assert markers == [None, "x?y=/../z", None]
    assert pool.cloud.count(path="/os-keypairs.*") == 0


def test_reading_an_endless_list_fails(pool: Pool) -> None:
    pool.fault(
        fake_list(DETAILS, servers=[server(name="x")], servers_links=[{}])
    )

    reason = pool.fails("DELETE_DEVICE", "cloud_unavailable", name="libra-1")

    assert "have no end" in reason
    # Each attempt reads two pages, and pauses separate the attempts.
    assert 2 <= pool.cloud.count(path=DETAILS) < 50


MALFORMED_LISTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "servers are an object": (DETAILS, {"servers": {"a": 1}}),
    "servers are text": (DETAILS, {"servers": "x"}),
    "servers are null": (DETAILS, {"servers": None}),
    "floating IPs are an object": (IPS, {"floatingips": {"a": 1}}),
}


@pytest.mark.parametrize("case", MALFORMED_LISTS)
def test_a_malformed_list_is_a_cloud_failure(pool: Pool, case: str) -> None:
    path, answer = MALFORMED_LISTS[case]
    pool.fault(fake_list(path, **answer))
    action = "DELETE_DEVICE" if path == DETAILS else "DELETE_IP"

    reason = pool.fails(action, "cloud_unavailable", **VALID)

    assert f"the answer to GET {path}" in reason
    assert reason.isprintable()
    assert changes_of(pool) == []


MALFORMED_ENTRIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "a server is null": (DETAILS, {"servers": [None]}),
    "a server is text": (DETAILS, {"servers": ["x\x1b[2J\n"]}),
    "a server is empty": (DETAILS, {"servers": [{}]}),
    "a name is half a character": (
        DETAILS,
        {"servers": [server(name=HALF_A_PAIR)]},
    ),
    "metadata are text": (DETAILS, {"servers": [server(metadata="x")]}),
    "metadata are numbers": (
        DETAILS,
        {
            "servers": [
                server(metadata={"poolmgr_pool": 5, "poolmgr_state": "x"})
            ]
        },
    ),
    "a floating IP is null": (IPS, {"floatingips": [None]}),
    "a floating IP is empty": (IPS, {"floatingips": [{}]}),
    "a floating IP has no address": (
        IPS,
        {"floatingips": [floating_ip(floating_ip_address="a\nb")]},
    ),
    "a description is a number": (
        IPS,
        {"floatingips": [floating_ip(description=5)]},
    ),
}


@pytest.mark.parametrize("case", MALFORMED_ENTRIES)
def test_resources_with_malformed_marks_are_not_touched(
    pool: Pool, case: str
) -> None:
    path, answer = MALFORMED_ENTRIES[case]
    pool.fault(fake_list(path, **answer))
    action = "DELETE_DEVICE" if path == DETAILS else "DELETE_IP"

    error = error_of(pool.run(action, None, **VALID))

    assert error["code"] in ("not_found", "not_owned")
    assert error["message"].isprintable()
    assert changes_of(pool) == []


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '{"servers": ' + "[" * 100_000, "1" * 5000, '{"a": 1}'],
    ids=["lists", "lists in an object", "a number", "an object"],
)
def test_deeply_nested_json_is_a_cloud_failure(pool: Pool, body: str) -> None:
    pool.fault(Fault("GET", DETAILS, status=200, body=body, times=None))

    pool.fails("DELETE_DEVICE", "cloud_unavailable", name="libra-1")


def test_a_name_that_is_not_utf8_does_not_hide_other_servers(
    pool: Pool,
) -> None:
    name = pool.passes("BUILD_DEVICE")["name"]
    servers = [
        server(name="caf\udce9", metadata={}),
        server(name=name, id=pool.only_server()["id"]),
    ]
    body = json.dumps({"servers": servers}, ensure_ascii=False)
    pool.fault(Fault("GET", DETAILS, status=200, body=body, times=1))

    pool.passes("DELETE_DEVICE", name=name)


def test_a_device_with_an_invalid_creation_answer_is_found_by_its_tag(
    pool: Pool,
) -> None:
    pool.fault(
        Fault("POST", SERVERS, status=202, body={"server": {}}, after=True)
    )

    answer = pool.passes("BUILD_DEVICE")

    assert pool.only_server()["name"] == answer["name"]
