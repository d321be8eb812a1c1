"""Tests of the blocking methods of the cloud."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolmgr import PoolManager
from poolmgr.cloud import Pace, open_cloud
from poolmgr.drivers.base import Device
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import (
    Closed,
    CloudUnavailable,
    DeadlineExceeded,
    Forked,
    PluginFailed,
    Stopped,
)
from poolmgr.ownership import Job, Mark
from poolmgr.tracing import RequestContext, bound, current
from tests.polling import until

MARK = Mark.for_job("pool", Job("job"))


def test_a_device_and_a_floating_ip_are_created_and_deleted() -> None:
    with open_cloud(FakeCloud(FakeSettings(boot_time=0.05))) as cloud:
        created = cloud.create_device("libra-1", MARK)
        device = cloud.wait_ready(created)
        ip = cloud.attach_ip(cloud.create_ip(MARK), device)

        assert cloud.device_of_ip(ip) == device
        assert cloud.accepts(ip.address, 80)
        cloud.mark_ip(ip, MARK.handed_over())
        assert [each.mark for each in cloud.list_ips()] == [MARK.handed_over()]
        cloud.delete_device(device)
        cloud.delete_ip(cloud.get_ip(ip.address))
        assert (cloud.list_devices(), cloud.list_ips()) == ([], [])


class RebootingDriver(FakeCloud):
    """A driver with a method outside the contract, which fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.rebooted: list[str] = []

    def reboot(self, name: str, timeout: float) -> int:
        """Return the number of calls."""
        self.rebooted.append(name)
        if len(self.rebooted) == 1:
            raise CloudUnavailable("busy")
        return len(self.rebooted)


def test_call_driver_retries_a_method_outside_the_contract() -> None:
    driver = RebootingDriver()
    with open_cloud(driver) as cloud:
        assert cloud.call_driver("reboot", "libra-1") == 2

    assert driver.rebooted == ["libra-1", "libra-1"]


def test_call_driver_logs_no_traceback_of_a_missing_method(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with open_cloud(FakeCloud()) as cloud:
        with pytest.raises(PluginFailed, match="driver has no power_cycle"):
            cloud.call_driver("power_cycle", "libra-1")

    assert caplog.text == ""


def test_many_threads_use_a_cloud_concurrently() -> None:
    with open_cloud(FakeCloud()) as cloud, ThreadPoolExecutor(20) as pool:
        created = pool.map(
            lambda n: cloud.create_device(f"libra-{n}", MARK), range(100)
        )

        assert len({device.id for device in created}) == 100


def test_a_timeout_error_describes_the_wait() -> None:
    with open_cloud(FakeCloud(FakeSettings(boot_time=3600.0))) as cloud:
        created = cloud.create_device("libra-1", MARK)

        with pytest.raises(DeadlineExceeded, match="'libra-1' to boot"):
            cloud.within(0.1).wait_ready(created)


def test_a_timeout_raises_the_last_error_of_the_cloud() -> None:
    driver = FakeCloud(FakeSettings(call_failure_rate=1.0))
    with open_cloud(driver, timeout=0.5) as cloud:
        with pytest.raises(CloudUnavailable, match="let the call fail"):
            cloud.list_ips()


def test_a_call_runs_in_the_context_of_its_thread() -> None:
    async def request_id() -> str | None:
        context = current()
        return context.request_id if context else None

    with open_cloud(FakeCloud()) as cloud:
        with bound(RequestContext()) as context:
            assert cloud.wait(request_id()) == context.request_id


def test_interrupt_ends_one_call_and_later_calls_work() -> None:
    with open_cloud(FakeCloud(FakeSettings(boot_time=3600.0))) as cloud:
        created = cloud.create_device("libra-1", MARK)

        async def interrupt() -> None:
            cloud.interrupt(Stopped("building"))

        def build() -> str:
            try:
                cloud.wait_ready(created)
            except Stopped as error:
                cloud.delete_device(created)
                return str(error)
            return "ready"

        with ThreadPoolExecutor(1) as pool:
            building = pool.submit(build)
            until(lambda: cloud.cloud.poller.waiting)
            asyncio.run_coroutine_threadsafe(
                interrupt(),
                cloud.loop,
            ).result()
            assert "building: given up" in building.result()
        assert cloud.list_devices() == []


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_call_in_the_child_of_a_fork_raises_at_once() -> None:
    """The thread of the loop does not exist in the child."""
    with open_cloud(FakeCloud()) as cloud:
        child = os.fork()
        if child == 0:
            try:
                cloud.list_devices()
            except Forked:
                os._exit(7)
            os._exit(1)
        _pid, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7


def test_the_end_does_not_wait_for_a_driver_that_hangs() -> None:
    class HungDriver(FakeCloud):
        def close(self) -> None:
            threading.Event().wait()

    def use() -> None:
        with open_cloud(HungDriver(), pace=Pace(close=0.1)):
            pass

    using = threading.Thread(target=use, daemon=True)
    using.start()
    using.join(60.0)

    assert not using.is_alive()


class UnreachableCloud(FakeCloud):
    """A cloud that is down."""

    def list_devices(self, timeout: float) -> list[Device]:
        """Fail."""
        raise CloudUnavailable("down")


def test_closing_a_manager_ends_the_calls_of_other_threads() -> None:
    manager = PoolManager(UnreachableCloud())
    with ThreadPoolExecutor() as threads:
        listing = threads.submit(manager.cloud.list_devices)
        reading = manager.cloud.cloud.circuits.calls["reading compute"]
        until(lambda: reading.reason)
        manager.close()

        with pytest.raises(Closed):
            listing.result(10.0)
