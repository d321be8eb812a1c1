"""The devices of a cloud."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from poolmgr.cloud import checks
from poolmgr.cloud.attempts import Attempt
from poolmgr.cloud.calls import Calls
from poolmgr.cloud.capacity import Capacity
from poolmgr.cloud.creation import Creation
from poolmgr.cloud.deletion import Deletion
from poolmgr.cloud.lookups import Lookups
from poolmgr.cloud.pace import Pace, backoff
from poolmgr.cloud.poller import Poller
from poolmgr.cloud.pool import Pool
from poolmgr.cloud.runner import Witness
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.errors import (
    Ambiguous,
    Changed,
    DeviceFailed,
    NotFound,
    NotOwned,
    PoolmgrError,
    QuotaExceeded,
)
from poolmgr.events import Observer
from poolmgr.ownership import Mark, Ownership
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)


class Devices:
    """What :class:`~poolmgr.cloud.Cloud` does with devices.

    :ivar driver: the cloud's driver
    :ivar capacity: what is known of the cloud's room
    """

    def __init__(
        self,
        driver: Driver,
        ownership: Callable[[], Ownership] | None,
        observer: Observer | None,
        pool: Pool | None,
        pace: Pace,
    ) -> None:
        self.driver = driver
        self._ownership = ownership
        self._pace = pace
        self._calls = calls = Calls(driver, pace, pool, observer)
        self.capacity = Capacity(
            pace,
            calls.breakers["compute", "making"],
            calls.breakers["network", "making"],
        )
        self._poller = Poller(
            lambda devices: calls.once(checks.POLL, devices),
            lambda device: calls.once(checks.GET_DEVICE, device.id),
            driver.limits.poll_interval,
            pace,
        )
        self._by_name: Lookups[Device] = Lookups(
            partial(calls.ask, checks.FIND_DEVICES),
            lambda device: device.name,
            pace.lookup_slow,
        )
        self._by_job: Lookups[Device] = Lookups(
            partial(calls.ask, checks.DEVICES_OF_JOBS),
            unique_of,
            pace.lookup_slow,
        )
        # Attempts to boot a device, by its id.
        self._booting: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def create_device(
        self, name: str, mark: Mark, max_wait: float = 0.0
    ) -> Device:
        """Ask for a device, marked from birth; do not wait for its boot.

        :param max_wait: seconds to wait for room in the cloud, at most
        :raises QuotaExceeded: there is no room for one more
        :raises CloudError: the cloud says no
        """
        end = asyncio.get_running_loop().time() + max_wait
        boot = await self.capacity.boots.begin(max_wait)
        try:
            device = await self._create_in_time(name, mark, end)
        except BaseException as error:
            self.capacity.boots.end(boot, error)
            raise
        self._booting[device.id] = boot
        return device

    async def wait_ready(self, device: Device) -> Device:
        """Wait until a device is ready.

        :returns: the device as it is then
        :raises DeviceFailed: it failed, or is gone
        :raises CloudError: the cloud does not do what is left to do for it
        """
        boot = self._booting.pop(device.id, None)
        try:
            ready = await self._wait_ready(device)
        except BaseException as error:
            if boot is not None:
                self.capacity.boots.end(boot, error)
            if isinstance(error, QuotaExceeded):
                # Of its own floating IP: the next one gets none, either.
                self.capacity.boots.blame(str(error))
            raise
        if boot is not None:
            self.capacity.boots.end(boot)
        return ready

    async def delete_device(self, device: Device) -> None:
        """Delete a device and wait until it is gone.

        A device that is gone already is no error.

        :raises NotOwned: it is not ours
        :raises CloudError: the cloud says no
        """
        self._require_ours(device)
        boot = self._booting.pop(device.id, None)
        if boot is not None:
            self.capacity.boots.end(boot, asyncio.CancelledError())
        await Deletion(self._calls, self._poller, device, self._pace).run()
        if device.mark is None or not device.mark.is_left:
            # What a failed build leaves makes no room that was not there.
            self.capacity.devices.hint()
            self.capacity.boots.hint()

    async def list_devices(self) -> Sequence[Device]:
        """List all devices, other people's too."""
        return await self._calls.ask(checks.LIST_DEVICES)

    async def find_devices(self, name: str) -> Sequence[Device]:
        """List the devices of exactly this name."""
        return await self._by_name.get(name)

    async def devices_of_job(self, unique: str) -> Sequence[Device]:
        """List the devices whose mark has this unique."""
        return await self._by_job.get(unique)

    async def get_device(self, id: str) -> Device | None:
        """Return the device of this id, None if there is none."""
        return await self._calls.ask(checks.GET_DEVICE, id)

    async def mark_device(self, device: Device, mark: Mark) -> None:
        """Write another mark on a device that is active.

        :raises NotOwned: it is not ours
        :raises CloudError: the cloud says no
        """
        self._require_ours(device)
        await self._calls.ask(checks.MARK_DEVICE, device, mark)

    async def our_device(self, name: str) -> Device:
        """Return the one device of exactly this name.

        :raises NotFound: there is none
        :raises Ambiguous: there are several
        :raises NotOwned: it is not ours
        """
        found = await self.find_devices(name)
        if not found:
            raise NotFound("device", name)
        if len(found) > 1:
            raise Ambiguous("device", name, [device.id for device in found])
        self._require_ours(found[0])
        return found[0]

    # -- inside -------------------------------------------------------------

    def _require_ours(self, device: Device) -> None:
        if not self._is_ours(device):
            authority = self._ownership().authority if self._ownership else ""
            raise NotOwned("device", device.name, authority)

    def _is_ours(self, device: Device | None) -> bool:
        if self._ownership is None:
            return True
        return device is not None and self._ownership().of_device(
            device.name, device.mark
        )

    async def _create_in_time(
        self, name: str, mark: Mark, end: float
    ) -> Device:
        """Create a device, for which there may be room only later.

        :param end: when nobody waits for room any more, by the loop's clock
        """
        quota, loop = self.capacity.devices, asyncio.get_running_loop()
        while True:
            left = max(0.0, end - loop.time())
            try:
                async with quota.attempt(left):
                    return await self._create_device(name, mark)
            except QuotaExceeded:
                if not (left and quota.may_wait):
                    raise

    async def _create_device(self, name: str, mark: Mark) -> Device:
        async def request(witness: Witness[Device]) -> Device:
            return await self._calls.once(
                checks.CREATE_DEVICE, name, mark, witness=witness
            )

        async def find() -> Sequence[Device]:
            verb = checks.FIND_CREATED_DEVICES
            return await self._calls.ask(verb, "device", name, mark)

        async def delete(device: Device) -> None:
            deletion = Deletion(self._calls, self._poller, device, self._pace)
            await deletion.run()

        return await Creation(
            f"device {name!r}",
            current() or RequestContext(),
            self._pace,
            request,
            find,
            delete,
            self._own,
        ).run()

    async def _wait_ready(self, device: Device) -> Device:
        try:
            ready = await self._poller.wait_ready(device)
        except DeviceFailed as error:
            fault = await self._explain(device, error.fault)
            raise DeviceFailed(error.name, fault) from None
        if type(self.driver).finish_device is Driver.finish_device:
            return ready
        context = current() or RequestContext()
        for pause in backoff(self._pace.retry_first, self._pace.retry_longest):
            try:
                ready = await self._calls.ask(checks.FINISH_DEVICE, ready)
                if ready.ready:
                    return ready
            except Changed as error:
                LOG.info("device %s: %s; trying again", device.name, error)
                context.trouble = error
            context.doing = f"finishing device {device.name!r}"
            await asyncio.sleep(pause)
        raise AssertionError("the pauses never end")

    async def _explain(self, device: Device, fault: str) -> str:
        """Return why a device failed, with all that the cloud tells."""
        if type(self.driver).explain_failure is Driver.explain_failure:
            return fault
        failed = replace(device, fault=fault)
        try:
            async with asyncio.timeout(self._pace.explain):
                said = await self._calls.ask(checks.EXPLAIN_FAILURE, failed)
        except (PoolmgrError, TimeoutError) as error:
            LOG.info("no reason of device %s: %s", device.name, error)
            return fault
        return said or fault

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in a task that nobody cancels."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def unique_of(thing: Device | FloatingIP) -> str | None:
    """Return the unique of the job that something was made for."""
    return thing.mark.unique if thing.mark else None
