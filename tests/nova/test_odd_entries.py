"""One entry of the cloud's lists is odd: all the others are as before."""

import json
from collections.abc import Callable, Iterator, Mapping
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
from tests.reaping import BlockingReaper

Json = dict[str, Any]
Change = Callable[[Json], object]

MISSING = object()
ODD: tuple[object, ...] = (
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


def odd_in(entry: Json, field: str) -> Iterator[Json]:
    """The entry with each odd value in one of its fields."""
    for value in ODD:
        changed = {k: v for k, v in entry.items() if k != field}
        if value is not MISSING:
            changed[field] = value
        yield changed


def odd_ones(entry: Json) -> Iterator[object]:
    """What may stand where an entry should."""
    yield from (None, 5, "x", [], {}, [entry])
    for field, inner in entry.items():
        yield from odd_in(entry, field)
        if isinstance(inner, dict):
            for name in inner:
                for changed in odd_in(inner, name):
                    yield {**entry, field: changed}
                values = inner[name]
                if isinstance(values, list) and values:
                    for each in odd_ones(values[0]):
                        yield {**entry, field: {**inner, name: [each]}}


class Oddity:
    """Puts something in place of one entry of a list, or of a thing shown.

    :ivar now: what; a function that changes the entry
    """

    def __init__(self, key: str, field: str, value: object) -> None:
        self._key, self._field, self._value = key, field, value
        self.now: Callable[[Json], object] = lambda entry: entry

    def __call__(self, answer: Json) -> Json:
        entries = [
            self.now(entry) if self._is_it(entry) else entry
            for entry in answer.get(self._key, [])
        ]
        single = self._key.removesuffix("s")
        if self._is_it(answer.get(single)):
            return {**answer, single: self.now(answer[single])}
        return {**answer, self._key: entries}

    def _is_it(self, entry: object) -> bool:
        return (
            isinstance(entry, dict) and entry.get(self._field) == self._value
        )

    def fault(self, path: str) -> Fault:
        """The fault that does it in every answer of the path."""
        return Fault(path=path, method="GET", change=self, times=None)


def as_json(value: object) -> str:
    """What is odd, for the message of a test."""
    return json.dumps(value, default=str)[:300]


def test_an_odd_server_hides_no_other(pool: Pool) -> None:
    odd, good = pool.build(), pool.build()
    pool.ip(on=odd)
    (shown,) = [s for s in pool.cloud.servers if s["name"] == odd["name"]]
    oddity = Oddity("servers", "id", shown["id"])
    pool.fault(oddity.fault(DETAILS), oddity.fault(ONE_SERVER))
    look = pool.openstack.cloud, pool.manager.settings.ownership

    for value in odd_ones(shown):
        oddity.now = lambda _entry, value=value: value  # type: ignore[misc]
        found = pool.openstack.wait(list_devices(*look))
        names = [item.name for item in found]
        assert good["name"] in names, as_json(value)
        (same,) = pool.openstack.find_devices(str(good["name"]))
        assert same.ready, as_json(value)
        pool.openstack.wait(list_everything(*look))


def test_an_odd_floating_ip_hides_no_other(pool: Pool) -> None:
    device = pool.build()
    odd, good = pool.ip(on=device), pool.ip()
    (shown,) = [ip for ip in pool.cloud.floating_ips if ip["id"] == odd["id"]]
    oddity = Oddity("floatingips", "id", odd["id"])
    pool.fault(oddity.fault(IPS))
    look = pool.openstack.cloud, pool.manager.settings.ownership

    for value in odd_ones(shown):
        oddity.now = lambda _entry, value=value: value  # type: ignore[misc]
        _devices, found = pool.openstack.wait(list_everything(*look))
        ips = {item.name: item.resource for item in found}
        assert str(good["ip"]) in ips, as_json(value)
        if str(odd["ip"]) in ips and value != {**shown, "port_id": None}:
            # It is attached, whatever is said of it.
            assert ips[str(odd["ip"])].device_id is not None, as_json(value)


def without(answer: Mapping[str, Any], name: str) -> Json:
    """A list of things without the one of this name."""
    ((key, entries),) = answer.items()
    return {key: [e for e in entries if e.get("name") != name]}


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("/flavors", "flavors", "m1.small"),
        ("/images", "images", "tiny"),
        ("/networks", "networks", "private"),
        ("/networks", "networks", "public"),
        ("/security-groups", "security_groups", "pool"),
        ("/os-server-groups", "server_groups", "apart"),
        ("/ports", "ports", ""),
    ],
)
def test_odd_entries_do_not_affect_a_build(
    pools: Pools, path: str, key: str, name: str
) -> None:
    """Another entry, which nobody asked for, is odd in every way."""
    nova = {
        "security_groups": ("pool",),
        "server_group": "apart",
        "availability_zones": ("az1",),
    }
    pool = pools.new(nova=nova)

    def with_odd(answer: Json) -> Json:
        if not answer[key]:
            return answer
        first = answer[key][0]
        besides = [
            {**each, "id": f"odd-{number}"}
            if isinstance(each, dict) and isinstance(each.get("id"), str)
            else each
            for number, each in enumerate(odd_ones(first))
            # One more that is as good is no oddity but an ambiguity.
            if not isinstance(each, dict)
            or not isinstance(each.get("id"), str)
            or not isinstance(each.get("name"), str)
        ]
        return {**answer, key: [*besides, *answer[key]]}

    pool.fault(Fault(path=path, method="GET", change=with_odd, times=None))

    device, ip = pool.build(), pool.ip()
    pool.passes("ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert not [f for f in pool.openstack.check() if f.problem]


def test_an_error_without_a_fault_fails_one_build(pools: Pools) -> None:
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
    "odd",
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
def test_a_server_with_temporarily_odd_fields_is_built(
    pools: Pools, odd: Json
) -> None:
    pool = pools.new()
    oddity = Oddity("servers", "status", "ACTIVE")
    oddity.now = lambda server: {**server, **odd}
    for path in (DETAILS, ONE_SERVER):
        fault = oddity.fault(path)
        pool.fault(
            Fault(path=path, method="GET", change=fault.change, times=4)
        )

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.only_server()["metadata"]["poolmgr_state"] == "handed-over"


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": []}])
def test_an_odd_answer_to_a_mark_is_retried(pool: Pool, body: Json) -> None:
    path = "/servers/[^/]+/metadata"
    pool.fault(Fault(path=path, method="POST", change=lambda _answer: body))

    device = pool.build()

    assert pool.only_server()["name"] == device["name"]
    assert pool.only_server()["metadata"]["poolmgr_state"] == "handed-over"


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": None},
        {"metadata": "x"},
        {"metadata": {"poolmgr_pool": None, "poolmgr_state": "handed-over"}},
        {"metadata": {"poolmgr_pool": "libra", "poolmgr_state": []}},
    ],
    ids=as_json,
)
def test_a_server_with_an_unreadable_mark_is_not_deleted(
    pool: Pool, odd: Json
) -> None:
    device = pool.build()
    oddity = Oddity("servers", "name", device["name"])
    oddity.now = lambda server: {**server, **odd}
    pool.fault(oddity.fault(DETAILS))
    reaper = BlockingReaper(
        pool.openstack,
        pool=pool.manager.settings,
        old=0.0,
        twice=True,
    )

    pool.fails("DELETE_DEVICE", "not_found", name=device["name"])

    assert reaper.find() == []
    assert pool.cloud.count("DELETE", path=f"{SERVERS}/.*") == 0


def test_ignored_entries_are_logged_once(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.build()
    oddity = Oddity("servers", "status", "ACTIVE")
    oddity.now = lambda server: {**server, "id": None}
    pool.fault(oddity.fault(DETAILS))

    for _look in range(3):
        pool.openstack.list_devices()

    said = [r for r in caplog.messages if "ignored in the cloud's" in r]
    assert len(said) <= 1  # another test's server may have been it
