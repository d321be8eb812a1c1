"""Conformance tests for a driver's floating IPs."""

import pytest

from poolmgr.cloud import BlockingCloud
from poolmgr.drivers.base import Driver
from poolmgr.errors import Changed
from poolmgr.testing.driver_tests import DriverTests


class FloatingIpTests(DriverTests):
    """Allocating, attaching, moving and deleting floating IPs."""

    def test_a_new_floating_ip_is_marked(self, cloud: BlockingCloud) -> None:
        mark = self.mark("conformance address")

        made = cloud.create_ip(mark)

        assert made.device_id is None
        found = cloud.get_ip(made.address)
        assert (found.id, found.mark) == (made.id, mark)
        (same,) = cloud.ips_of_job("conformance address")
        assert same.id == made.id
        assert made.id in {ip.id for ip in cloud.list_ips()}

    def test_a_floating_ips_mark_can_be_changed(
        self, cloud: BlockingCloud
    ) -> None:
        ip = cloud.create_ip(self.mark())
        mark = self.mark("its new job").handed_over()

        cloud.mark_ip(ip, mark)

        changed = cloud.get_ip(ip.address)
        assert changed.mark == mark
        with pytest.raises(Changed):
            cloud.mark_ip(ip, mark.withdrawn())
        cloud.mark_ip(changed, mark.withdrawn())
        assert cloud.get_ip(ip.address).mark == mark.withdrawn()

    def test_a_deleted_floating_ip_is_not_found(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        ip = cloud.create_ip(self.mark())

        cloud.delete_ip(ip)

        assert cloud.find_ip(ip.address) is None
        assert not driver.delete_ip(ip, self.timeout)

    def test_all_of_some_addresses_are_found(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        ips = [cloud.create_ip(self.mark()) for _twice in range(2)]

        addresses = [*(ip.address for ip in ips), "192.0.2.254"]
        found = driver.find_ips(addresses, self.timeout)

        assert {ip.id for ip in found} == {ip.id for ip in ips}

    def test_a_floating_ip_is_attached_and_detached(
        self, cloud: BlockingCloud
    ) -> None:
        device = self.device(cloud)
        ip = cloud.create_ip(self.mark())
        assert cloud.device_of_ip(ip) is None

        attached = cloud.attach_ip(ip, device)

        assert attached.device_id == device.id
        on = cloud.device_of_ip(attached)
        assert on is not None
        assert on.id == device.id
        assert attached.mark == ip.mark
        assert cloud.detach_ip(attached).device_id is None

    def test_a_floating_ip_moves_in_one_step(
        self, cloud: BlockingCloud
    ) -> None:
        first, second = self.device(cloud), self.device(cloud)
        ip = cloud.attach_ip(cloud.create_ip(self.mark()), first)

        assert cloud.attach_ip(ip, second).device_id == second.id

    def test_a_concurrent_change_is_noticed(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        first, second = self.device(cloud), self.device(cloud)
        seen = cloud.create_ip(self.mark())
        cloud.attach_ip(seen, first)

        with pytest.raises(Changed):
            driver.attach_ip(seen, second, self.timeout)
        with pytest.raises(Changed):
            driver.detach_ip(seen, self.timeout)

        assert cloud.get_ip(seen.address).device_id == first.id

    def test_an_attached_floating_ip_can_be_deleted(
        self, cloud: BlockingCloud
    ) -> None:
        device = self.device(cloud)
        ip = cloud.attach_ip(cloud.create_ip(self.mark()), device)

        cloud.delete_ip(ip)

        assert cloud.find_ip(ip.address) is None
        assert cloud.find_devices(device.name)

    def test_a_floating_ip_outlives_its_device(
        self, cloud: BlockingCloud
    ) -> None:
        device = self.device(cloud)
        ip = cloud.attach_ip(cloud.create_ip(self.mark()), device)

        cloud.delete_device(device)

        assert cloud.get_ip(ip.address).device_id is None
