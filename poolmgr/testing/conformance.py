"""Conformance tests for drivers."""

import threading
from concurrent.futures import ThreadPoolExecutor

from poolmgr.cloud import BlockingCloud
from poolmgr.drivers.base import Device, Driver
from poolmgr.errors import Changed
from poolmgr.testing.device_tests import DeviceTests
from poolmgr.testing.ip_tests import FloatingIpTests


class DriverConformance(DeviceTests, FloatingIpTests):
    """Conformance tests: subclass this and add a fixture ``driver``.

    The cloud needs room for four devices and two floating IPs. After each
    test its resources are deleted and the driver is closed.

    :cvar timeout: time limit of a call, and of a boot, in seconds
    :cvar pace: how long to wait for the cloud. With a shorter
        ``Pace.out_of_sight`` than 10 s the tests end sooner.
    """

    def test_many_threads_can_use_it(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        ip = cloud.create_ip(self.mark())
        devices = [self.device(cloud) for _twice in range(2)]
        started = threading.Barrier(8)

        def use(number: int) -> tuple[str, str]:
            started.wait(self.timeout)
            name = devices[number % 2].name
            (found,) = driver.find_devices([name], self.timeout)
            (same,) = driver.find_ips([ip.address], self.timeout)
            return found.id, same.id

        with ThreadPoolExecutor(8) as pool:
            for _round in range(3):
                seen = set(pool.map(use, range(8)))
                assert seen == {(device.id, ip.id) for device in devices}

    def test_of_two_concurrent_attachments_one_fails(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        devices = [self.device(cloud), self.device(cloud)]
        ip = cloud.create_ip(self.mark())
        started = threading.Barrier(2)

        def attach(device: Device) -> str | None:
            started.wait(self.timeout)
            try:
                driver.attach_ip(ip, device, self.timeout)
            except Changed:
                return None
            return device.id

        with ThreadPoolExecutor(2) as pool:
            won = [w for w in pool.map(attach, devices) if w is not None]

        assert won == [cloud.get_ip(ip.address).device_id]
