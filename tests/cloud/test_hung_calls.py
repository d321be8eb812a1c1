"""Tests of calls that hang on real threads."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from poolmgr.cloud import BlockingCloud, open_cloud
from poolmgr.drivers.base import Device, Limits
from poolmgr.drivers.fake import FakeCloud
from poolmgr.errors import CloudUnavailable, PoolmgrError
from poolmgr.ownership import Job, Mark

MARK = Mark.for_job("pool", Job("job"))


class HangingCloud(FakeCloud):
    """A cloud whose first calls of one verb hang.

    :param hanging: number of calls that hang
    """

    def __init__(self, hanging: int) -> None:
        super().__init__()
        self.limits = Limits(calls_at_once=1, call_timeout=0.2)
        self.left = hanging
        self.go_on = threading.Event()
        self.created = 0

    def get_device(self, id: str, timeout: float) -> Device | None:
        """Hang, or return a device."""
        if self.left:
            self.left -= 1
            self.go_on.wait()
        return super().get_device(id, timeout)

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        """Count the device."""
        self.created += 1
        return super().create_device(name, mark, timeout)


@contextmanager
def open_until_end(driver: HangingCloud) -> Iterator[BlockingCloud]:
    """Open a cloud, and release its threads at the end."""
    with open_cloud(driver, timeout=60.0) as cloud:
        try:
            yield cloud
        finally:
            driver.go_on.set()


def test_a_thread_that_hangs_is_replaced() -> None:
    with open_until_end(HangingCloud(1)) as cloud:
        assert cloud.get_device("1") is None


def test_a_creation_that_got_no_thread_has_no_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = HangingCloud(2)
    with open_until_end(driver) as cloud:
        while driver.left:
            with suppress(PoolmgrError):
                cloud.within(0.1).get_device("1")

        with pytest.raises(CloudUnavailable, match="no thread was free"):
            cloud.within(4.0).create_device("libra-1", MARK)

        assert "checking whether it was created" not in caplog.text
        driver.go_on.set()
        assert cloud.list_devices() == []
    assert driver.created == 0


class LimitedCloud(FakeCloud):
    """A cloud that takes two requests a second, and counts its lists."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(call_timeout=0.5, calls_per_second=2.0)
        self.lists = 0

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """Count the list."""
        self.lists += 1
        return super().list_devices(timeout)


def test_a_call_that_waits_for_the_rate_limit_does_not_time_out() -> None:
    driver = LimitedCloud()
    with open_cloud(driver) as cloud, ThreadPoolExecutor(6) as threads:
        lists = [threads.submit(cloud.list_devices) for _list in range(6)]

        assert [each.result(60.0) for each in lists] == [[]] * 6

    assert driver.lists == 6  # none was given up and repeated
