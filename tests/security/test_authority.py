"""Ownership: every action on every kind of resource, with every authority.

The rules are written down a second time, as short as in the documentation,
and compared with the actions' behaviour on both clouds.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import pytest

from poolmgr import PoolManager
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.fake import FakeCloud
from poolmgr.ownership import Authority, Mark, new_name
from poolmgr.settings import PoolSettings
from tests.nova.pools import Pool, Pools
from tests.polling import until

SOON = 60.0
OURS = Mark("libra", "", "H:x:1", "2026-01-01T00:00:00+00:00", "handed over")
THEIRS = Mark("theirs", "", "H:x:1", "2026-01-01T00:00:00+00:00", "building")

Kind = Literal["ours", "theirs", "by its name", "somebody's"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MARKS = {"ours": OURS, "theirs": THEIRS, "none": None}
PLACES = ("free", *KINDS)
AUTHORITIES: tuple[Authority, ...] = get_args(Authority)


def device_is_ours(kind: str, authority: Authority) -> bool:
    return {
        "owned": kind == "ours",
        "pattern": kind in ("ours", "by its name"),
        "any": True,
    }[authority]


def ip_is_ours(mark: str, place: str, authority: Authority) -> bool:
    if authority == "any" or mark == "ours":
        return True
    if place != "free" and device_is_ours(place, authority):
        return True
    return (mark, place, authority) == ("none", "free", "pattern")


@dataclass
class World:
    """A cloud with a device of each kind and one floating IP at a time."""

    driver: Driver
    create_unmarked_device: Callable[[str], None]
    create_unmarked_ip: Callable[[], str]

    def create_device(self, kind: Kind) -> Device:
        """Create a device of a kind and wait until it is ready."""
        name = "web-1" if kind == "somebody's" else new_name("libra")
        if kind in ("ours", "theirs"):
            mark = OURS if kind == "ours" else THEIRS
            self.driver.create_device(name, mark, SOON)
        else:
            self.create_unmarked_device(name)

        def find() -> Device:
            (device,) = self.driver.find_devices([name], SOON)
            return device

        until(lambda: find().ready, SOON)
        return find()

    def create_ip(self, mark: str, on: Device | None) -> FloatingIP:
        """Create a floating IP with a mark, attached to a device if given."""
        value = MARKS[mark]
        if value is None:
            address = self.create_unmarked_ip()
        else:
            address = self.driver.create_ip(value, SOON).address
        if on is not None:
            self.driver.attach_ip(self.find_ip(address), on, SOON)
        return self.find_ip(address)

    def find_ip(self, address: str) -> FloatingIP:
        """Return the floating IP with an address."""
        (ip,) = self.driver.find_ips([address], SOON)
        return ip

    def everything(self) -> tuple[list[Device], list[FloatingIP]]:
        """Return all devices and floating IPs, for comparison."""
        devices = self.driver.list_devices(SOON)
        ips = self.driver.list_ips(SOON)
        # Attaching a floating IP changes the addresses of the device.
        compared = [(d.id, d.name, d.status, d.mark) for d in devices]
        return sorted(compared), list(ips)  # type: ignore[return-value]


def fake_world(stack: ExitStack) -> World:
    cloud = FakeCloud()
    stack.callback(cloud.close)
    return World(
        cloud,
        lambda name: discard(cloud.create_device(name, None, SOON)),
        lambda: cloud.create_ip(None, SOON).address,
    )


def nova_world(stack: ExitStack) -> World:
    pool: Pool = Pools(stack).new()
    return World(
        pool.manager.driver,
        lambda name: discard(pool.create_foreign_server(name)),
        lambda: str(pool.create_foreign_ip()["ip"]),
    )


def discard(_value: object) -> None:
    """Discard a value."""


@pytest.fixture(params=[fake_world, nova_world], ids=["fake", "nova"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as stack:
        yield request.param(stack)


def manager(world: World, authority: Authority) -> PoolManager:
    settings = PoolSettings(
        authority=authority, explain_failures=True, short_timeout=SOON
    )
    return PoolManager(world.driver, settings)


def outcome(manager: PoolManager, action: str, **fields: str) -> str:
    """Return PASS, or the error code."""
    answer = manager.run({"action": action, **fields})
    error = answer.get("error")
    return str(error["code"]) if isinstance(error, dict) else "PASS"


@pytest.mark.parametrize("authority", AUTHORITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_delete_device_obeys_the_ownership_rules(
    world: World, kind: Kind, authority: Authority
) -> None:
    others = [world.create_device(k) for k in KINDS if k != kind]
    device = world.create_device(kind)
    before = world.everything()

    result = outcome(
        manager(world, authority), "DELETE_DEVICE", name=device.name
    )

    if device_is_ours(kind, authority):
        assert result == "PASS"
        remaining = {d.id for d in world.driver.list_devices(SOON)}
        assert remaining == {other.id for other in others}
    else:
        assert result == "not_owned"
        assert world.everything() == before


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_delete_ip_obeys_the_ownership_rules(
    world: World, authority: Authority
) -> None:
    devices = {kind: world.create_device(kind) for kind in KINDS}
    with manager(world, authority) as pool:
        for mark, place in product(MARKS, PLACES):
            ip = world.create_ip(mark, devices.get(place))  # type: ignore[call-overload]
            before = world.everything()

            result = outcome(pool, "DELETE_IP", ip=ip.address)

            case = (mark, place, authority)
            if ip_is_ours(*case):
                assert result == "PASS", case
                remaining, ips = world.everything()
                assert ips == [i for i in before[1] if i.id != ip.id], case
                assert remaining == before[0], case
            else:
                assert result == "not_owned", case
                assert world.everything() == before, case
                world.driver.delete_ip(ip, SOON)


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_assign_ip_obeys_the_ownership_rules(
    world: World, authority: Authority
) -> None:
    devices = {kind: world.create_device(kind) for kind in KINDS}
    with manager(world, authority) as pool:
        for mark, place, to in product(MARKS, PLACES, KINDS):
            ip = world.create_ip(mark, devices.get(place))  # type: ignore[call-overload]
            before = world.everything()

            result = outcome(
                pool, "ASSIGN_IP", ip=ip.address, name=devices[to].name
            )

            case = (mark, place, to, authority)
            allowed = device_is_ours(to, authority) and ip_is_ours(
                mark, place, authority
            )
            if allowed:
                assert result == "PASS", case
                now = world.find_ip(ip.address)
                assert now.device_id == devices[to].id, case
                assert (now.id, now.mark) == (ip.id, ip.mark), case
            else:
                assert result == "not_owned", case
                assert world.everything() == before, case
            world.driver.delete_ip(ip, SOON)


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_remove_ip_obeys_the_ownership_rules(
    world: World, authority: Authority
) -> None:
    devices = {kind: world.create_device(kind) for kind in KINDS}
    with manager(world, authority) as pool:
        for mark, place, named in product(MARKS, PLACES, KINDS):
            ip = world.create_ip(mark, devices.get(place))  # type: ignore[call-overload]
            before = world.everything()

            result = outcome(
                pool, "REMOVE_IP", ip=ip.address, name=devices[named].name
            )

            case = (mark, place, named, authority)
            if place == named and device_is_ours(named, authority):
                assert result == "PASS", case
                now = world.find_ip(ip.address)
                assert now.device_id is None, case
                assert (now.id, now.mark) == (ip.id, ip.mark), case
            else:
                ours = device_is_ours(named, authority)
                why = "attached_elsewhere" if ours else "not_owned"
                # An unattached address counts as removed from any device.
                assert result == ("PASS" if place == "free" else why), case
                assert world.everything() == before, case
            world.driver.delete_ip(ip, SOON)
