"""A simulated customer who orders and returns devices and addresses."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from poolmgr.drivers.base import Driver
from poolmgr.errors import PoolmgrError
from tests.chaos.desk import Desk
from tests.chaos.ledger import Entry, Holding, Ledger

_MOST = 3
_LOOK_TIME = 30.0

Step = Callable[[], Awaitable[None]]


class Customer:
    """A client with one job at a time, like each object of Libra.

    No other client touches its resources, so after each answer it knows
    where each of its addresses is.

    :param driver: used to check whether an assignment took effect
    :param dice: chooses the next step
    """

    def __init__(
        self, desk: Desk, ledger: Ledger, driver: Driver, dice: random.Random
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._driver = driver
        self._dice = dice
        self._devices: list[Holding] = []
        self._ips: list[Holding] = []
        # Addresses whose present or future device is unknown.
        self._doubtful: list[Holding] = []

    async def live(self, stop: asyncio.Event) -> None:
        """Take random steps until stopped."""
        while not stop.is_set():
            steps = self._steps()
            weights = [weight for weight, _step in steps]
            _weight, step = self._dice.choices(steps, weights)[0]
            await step()

    def _steps(self) -> list[tuple[int, Step]]:
        """Return the possible next steps with their weights."""
        steps: list[tuple[int, Step]] = [(0, self._rest)]
        if len(self._devices) < _MOST:
            steps.append((4, self._build_device))
        if len(self._ips) < _MOST:
            steps.append((4, self._build_ip))
        if self._ips and self._free():
            steps.append((6, self._assign))
        if self._placed():
            steps.append((2, self._remove))
        if len(self._ips) == _MOST:
            steps.append((4, self._delete_ip))
        if len(self._devices) == _MOST and self._free():
            steps.append((4, self._delete_device))
        if len(steps) == 1:
            steps = [(1, self._delete_ip if self._ips else self._rest)]
        return steps

    def _free(self) -> list[Holding]:
        """Return the devices without an address."""
        ips = [*self._ips, *self._doubtful]
        taken = {name for ip in ips for name in ip.where}
        return [each for each in self._devices if each.name not in taken]

    def _placed(self) -> list[Holding]:
        """Return the addresses that are certainly on a device."""
        return [
            ip
            for ip in self._ips
            if len(ip.where) == 1 and None not in ip.where
        ]

    # -- steps --------------------------------------------------------------

    async def _rest(self) -> None:
        await asyncio.sleep(0.1)

    async def _build_device(self) -> None:
        entry = await self._desk.ask("BUILD_DEVICE")
        device = self._ledger.hold("device", entry)
        if device is None:
            return
        if device.state == "owned":
            self._devices.append(device)
        else:
            await self._gone(device, "DELETE_DEVICE", name=device.name)

    async def _build_ip(self) -> None:
        entry = await self._desk.ask("BUILD_IP")
        ip = self._ledger.hold("address", entry)
        if ip is not None:
            self._ips.append(ip)

    async def _assign(self) -> None:
        ip, device = (
            self._dice.choice(self._ips),
            self._dice.choice(self._free()),
        )
        entry = await self._desk.ask("ASSIGN_IP", ip=ip.name, name=device.name)
        self._placed_by(entry, ip, device.name)
        if entry.passed:
            await self._see(entry, ip)

    async def _remove(self) -> None:
        ip = self._dice.choice(self._placed())
        (name,) = ip.where
        assert name is not None
        entry = await self._desk.ask("REMOVE_IP", ip=ip.name, name=name)
        self._placed_by(entry, ip, None)

    async def _delete_ip(self) -> None:
        ip = self._dice.choice(self._ips)
        self._ips.remove(ip)
        await self._gone(ip, "DELETE_IP", ip=ip.name)

    async def _delete_device(self) -> None:
        device = self._dice.choice(self._free())
        self._devices.remove(device)
        await self._gone(device, "DELETE_DEVICE", name=device.name)

    # -- answers ------------------------------------------------------------

    async def _gone(
        self, holding: Holding, action: str, **fields: str
    ) -> None:
        entry = await self._desk.ask(action, **fields)
        # An earlier delivery may have deleted it before it was killed.
        gone = entry.passed or entry.reason == "not_found"
        holding.state = "gone" if gone else "maybe"

    def _placed_by(self, entry: Entry, ip: Holding, name: str | None) -> None:
        """Record where an answer, or a missing one, leaves an address."""
        if entry.passed:
            ip.where = {name}
            return
        ip.where = {*ip.where, name, None}
        if entry.lost:
            # A live worker may still be changing it for a while.
            self._ips.remove(ip)
            self._doubtful.append(ip)

    async def _see(self, entry: Entry, ip: Holding) -> None:
        try:
            at = await asyncio.to_thread(self._place, ip.name)
        except PoolmgrError:
            return  # the cloud cannot be asked now
        if {at} != ip.where:
            self._ledger.problem(
                entry, f"it was answered with PASS; {ip.name} is on {at}"
            )

    def _place(self, address: str) -> str | None:
        found = self._driver.find_ips([address], _LOOK_TIME)
        if not found:
            return f"nothing, and {address} is gone"
        where = found[0].device_id
        device = self._driver.get_device(where, _LOOK_TIME) if where else None
        return None if device is None else device.name
