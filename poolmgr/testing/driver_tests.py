"""What the tests of every driver share."""

from collections.abc import Iterator

import pytest

from poolmgr.cloud import BlockingCloud, Pace, open_cloud
from poolmgr.drivers.base import Device, Driver
from poolmgr.ownership import Job, Mark, new_name

#: What the tests make bears this pool's mark, and is deleted by it.
POOL = "poolmgr-conformance"
BASENAME = "conformance"


class DriverTests:
    """Creates resources in the cloud of a driver, and deletes them.

    :cvar timeout: seconds that a verb may take, and a boot
    :cvar pace: the times of waiting
    """

    timeout = 60.0
    pace = Pace()

    @pytest.fixture
    def driver(self) -> Driver:
        """The driver to test."""
        raise NotImplementedError("give the class a fixture 'driver'")

    @pytest.fixture
    def cloud(self, driver: Driver) -> Iterator[BlockingCloud]:
        """The driver's cloud; deletes what a test has made."""
        with open_cloud(driver, pace=self.pace, timeout=self.timeout) as cloud:
            yield cloud
            for device in cloud.list_devices():
                if device.mark and device.mark.pool == POOL:
                    cloud.delete_device(device)
            for ip in cloud.list_ips():
                if ip.mark and ip.mark.pool == POOL:
                    cloud.delete_ip(ip)

    def mark(self, unique: str = "") -> Mark:
        """A mark of these tests, of a job of its own if none is named."""
        job = Job(unique, "H:here:1") if unique else Job.by_hand()
        return Mark.for_job(POOL, job)

    def device(self, cloud: BlockingCloud) -> Device:
        """A device that is ready."""
        made = cloud.create_device(new_name(BASENAME), self.mark())
        return cloud.wait_ready(made)
