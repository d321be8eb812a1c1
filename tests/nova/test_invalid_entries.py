"""Tests of the cloud's lists with an invalid entry."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poolmgr.reaper.inventory import list_devices, list_everything
from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    DETAILS,
    IPS,
    ONE_SERVER,
    SERVERS,
    TIMEOUT,
    Pool,
    Pools,
    error_of,
)

Json = dict[str, Any]
Change = Callable[[Json], object]

MISSING = object()
INVALID_VALUES: tuple[object, ...] = (
    None,
    5,
    1e300,
    -1,
    True,
    "",
    "x\ud800",
    [],
    [None],
    {},
    MISSING,
)


def with_invalid_field(entry: Json, field: str) -> Iterator[Json]:
    """Yield the entry with each invalid value in a field."""
    for value in INVALID_VALUES:
        changed = {k: v for k, v in entry.items() if k != field}
        if value is not MISSING:
            changed[field] = value
        yield changed


def invalid_entries(entry: Json) -> Iterator[object]:
    """Yield invalid values and entries to replace an entry by."""
    yield from (None, 5, "x", [], {}, [entry])
    for field, inner in entry.items():
        yield from with_invalid_field(entry, field)
        if isinstance(inner, dict):
            for name in inner:
                for changed in with_invalid_field(inner, name):
                    yield {**entry, field: changed}
                values = inner[name]
                if isinstance(values, list) and values:
                    for each in invalid_entries(values[0]):
                        yield {**entry, field: {**inner, name: [each]}}


class Replacement:
    """A change of an entry in all lists, and where it is read alone.

    :ivar change: takes the entry and returns its replacement
    """

    def __init__(self, key: str, field: str, value: object) -> None:
        self._key, self._field, self._value = key, field, value
        self.change: Callable[[Json], object] = lambda entry: entry

    def __call__(self, answer: Json) -> Json:
        entries = [
            self.change(entry) if self._is_entry(entry) else entry
            for entry in answer.get(self._key, [])
        ]
        single = self._key.removesuffix("s")
        if self._is_entry(answer.get(single)):
            return {**answer, single: self.change(answer[single])}
        return {**answer, self._key: entries}

    def _is_entry(self, entry: object) -> bool:
        return (
            isinstance(entry, dict) and entry.get(self._field) == self._value
        )

    def fault(self, path: str) -> Fault:
        """Return the fault that changes every answer of a path."""
        return Fault(path=path, method="GET", change=self, times=None)


def as_json(value: object) -> str:
    """Return a value as the id or message of a test."""
    return json.dumps(value, default=str)[:300]


def test_an_invalid_server_does_not_hide_other_servers(pool: Pool) -> None:
    invalid, valid = pool.build(), pool.build()
    pool.build_ip(invalid)
    (shown,) = [s for s in pool.cloud.servers if s["name"] == invalid["name"]]
    replacement = Replacement("servers", "id", shown["id"])
    pool.fault(replacement.fault(DETAILS), replacement.fault(ONE_SERVER))
    arguments = pool.openstack.cloud, pool.manager.settings.ownership

    for value in invalid_entries(shown):
        replacement.change = lambda _entry, value=value: value  # type: ignore[misc]
        found = pool.openstack.wait(list_devices(*arguments))
        names = [item.name for item in found]
        assert valid["name"] in names, as_json(value)
        (device,) = pool.openstack.find_devices(str(valid["name"]))
        assert device.ready, as_json(value)
        pool.openstack.wait(list_everything(*arguments))


def test_an_invalid_floating_ip_does_not_hide_other_floating_ips(
    pool: Pool,
) -> None:
    device = pool.build()
    invalid, valid = pool.build_ip(device), pool.build_ip()
    (shown,) = [
        ip for ip in pool.cloud.floating_ips if ip["id"] == invalid["id"]
    ]
    replacement = Replacement("floatingips", "id", invalid["id"])
    pool.fault(replacement.fault(IPS))
    arguments = pool.openstack.cloud, pool.manager.settings.ownership

    for value in invalid_entries(shown):
        replacement.change = lambda _entry, value=value: value  # type: ignore[misc]
        _devices, found = pool.openstack.wait(list_everything(*arguments))
        ips = {item.name: item.resource for item in found}
        assert str(valid["ip"]) in ips, as_json(value)
        resource = ips.get(str(invalid["ip"]))
        if resource is not None and value != {**shown, "port_id": None}:
            # It must not be taken for detached, as it is attached.
            assert resource.device_id is not None, as_json(value)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/flavors", "flavors"),
        ("/images", "images"),
        ("/networks", "networks"),
        ("/security-groups", "security_groups"),
        ("/os-server-groups", "server_groups"),
        ("/ports", "ports"),
    ],
)
def test_invalid_entries_of_other_resources_do_not_affect_a_build(
    pools: Pools, path: str, key: str
) -> None:
    """The list has invalid entries besides the one that is configured."""
    nova = {
        "security_groups": ("pool",),
        "server_group": "apart",
        "availability_zones": ("az1",),
    }
    pool = pools.new(nova=nova)

    def add_invalid(answer: Json) -> Json:
        if not answer[key]:
            return answer
        first = answer[key][0]
        invalid = [
            {**each, "id": f"invalid-{number}"}
            if isinstance(each, dict) and isinstance(each.get("id"), str)
            else each
            for number, each in enumerate(invalid_entries(first))
            # An entry with a valid id and name would make it ambiguous.
            if not isinstance(each, dict)
            or not isinstance(each.get("id"), str)
            or not isinstance(each.get("name"), str)
        ]
        return {**answer, key: [*invalid, *answer[key]]}

    pool.fault(Fault(path=path, method="GET", change=add_invalid, times=None))

    device, ip = pool.build(), pool.build_ip()
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert not [f for f in pool.openstack.check() if f.problem]
    assert pool.cloud.count("GET", path=path) >= 1


def test_a_server_in_error_without_a_fault_fails_only_its_build(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 0.5})

    def remove_fault(answer: Json) -> Json:
        for server in answer.get("servers", [answer.get("server", {})]):
            if server.get("status") == "ERROR":
                server["fault"] = None
        return answer

    for path in (DETAILS, ONE_SERVER):
        pool.fault(Fault("GET", path, change=remove_fault, times=None))
    pool.fault(Fault.server_error())

    jobs = [pool.submit("BUILD_DEVICE") for _each in range(4)]

    answers = [job.future.result(TIMEOUT).answer for job in jobs]
    failed = [a for a in answers if a["response"] == "FAIL"]
    assert len(failed) == 1
    assert error_of(failed[0])["code"] == "device_failed"
    assert len(pool.cloud.servers) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"status": None},
        {"status": "SOMETHING_NEW"},
        {"addresses": None},
        {"metadata": None},
        {"name": None},
        {"id": None},
        {"created": 5},
    ],
    ids=as_json,
)
def test_a_server_with_temporarily_invalid_fields_is_built(
    pools: Pools, fields: Json
) -> None:
    pool = pools.new()
    replacement = Replacement("servers", "status", "ACTIVE")
    replacement.change = lambda server: {**server, **fields}
    for path in (DETAILS, ONE_SERVER):
        fault = replacement.fault(path)
        pool.fault(
            Fault(path=path, method="GET", change=fault.change, times=4)
        )

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.only_server()["metadata"]["poolmgr_state"] == "handed-over"


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": []}])
def test_marking_is_retried_after_an_invalid_answer(
    pool: Pool, body: Json
) -> None:
    path = "/servers/[^/]+/metadata"
    pool.fault(Fault(path=path, method="POST", change=lambda _answer: body))

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.only_server()["metadata"]["poolmgr_state"] == "handed-over"


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": None},
        {"metadata": "x"},
        {"metadata": {"poolmgr_pool": None, "poolmgr_state": "handed-over"}},
        {"metadata": {"poolmgr_pool": "libra", "poolmgr_state": []}},
    ],
    ids=as_json,
)
def test_a_server_with_an_unreadable_mark_is_not_deleted(
    pool: Pool, fields: Json
) -> None:
    device = pool.build()
    replacement = Replacement("servers", "name", device["name"])
    replacement.change = lambda server: {**server, **fields}
    pool.fault(replacement.fault(DETAILS))

    pool.fails("DELETE_DEVICE", "not_found", name=device["name"])

    assert pool.reaper().find() == []
    assert pool.cloud.count("DELETE", path=f"{SERVERS}/.*") == 0


def test_ignored_entries_are_logged_once(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.build()
    replacement = Replacement("servers", "status", "ACTIVE")
    replacement.change = lambda server: {**server, "id": None}
    pool.fault(replacement.fault(DETAILS))

    for _time in range(3):
        pool.openstack.list_devices()

    messages = [r for r in caplog.messages if "ignored in the cloud's" in r]
    assert len(messages) <= 1  # another test may have logged it before
