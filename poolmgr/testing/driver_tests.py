"""Fixtures and helpers of the drivers' conformance tests."""

from collections.abc import Iterator

import pytest

from poolmgr.cloud import BlockingCloud, Pace, open_cloud
from poolmgr.drivers.base import Device, Driver
from poolmgr.ownership import Job, Mark, new_name

#: The pool of the resources that the tests create and delete.
POOL = "poolmgr-conformance"
BASENAME = "conformance"


class DriverTests:
    """Creates resources in the cloud of a driver, and deletes them.

    :cvar timeout: time limit of a call, and of a boot, in seconds
    :cvar pace: how long to wait for the cloud
    """

    timeout = 60.0
    pace = Pace()

    @pytest.fixture
    def driver(self) -> Driver:
        """The driver to test."""
        raise NotImplementedError("give the class a fixture 'driver'")

    @pytest.fixture
    def cloud(self, driver: Driver) -> Iterator[BlockingCloud]:
        """The driver's cloud; resources of the test are deleted at the end."""
        with open_cloud(driver, pace=self.pace, timeout=self.timeout) as cloud:
            yield cloud
            for device in cloud.list_devices():
                if device.mark and device.mark.pool == POOL:
                    cloud.delete_device(device)
            for ip in cloud.list_ips():
                if ip.mark and ip.mark.pool == POOL:
                    cloud.delete_ip(ip)

    def mark(self, unique: str = "") -> Mark:
        """Return a mark for a job with this unique, or for a new job."""
        job = Job(unique, "H:here:1") if unique else Job.by_hand()
        return Mark.for_job(POOL, job)

    def device(self, cloud: BlockingCloud) -> Device:
        """Create a device and wait until it is ready."""
        made = cloud.create_device(new_name(BASENAME), self.mark())
        return cloud.wait_ready(made)
