"""Conformance tests for a driver's devices."""

from dataclasses import replace

import pytest

from poolmgr.cloud import BlockingCloud
from poolmgr.drivers.base import Driver, Poll
from poolmgr.errors import CloudError, DeviceFailed
from poolmgr.ownership import Job, new_name
from poolmgr.testing.driver_tests import BASENAME, DriverTests


class DeviceTests(DriverTests):
    """Creating, finding, marking and deleting devices."""

    def test_a_new_device_is_marked(self, cloud: BlockingCloud) -> None:
        mark, name = self.mark(), new_name(BASENAME)

        made = cloud.create_device(name, mark)

        assert (made.name, made.mark) == (name, mark)
        (found,) = cloud.find_devices(name)
        assert (found.id, found.mark) == (made.id, mark)

    def test_a_device_becomes_ready(self, cloud: BlockingCloud) -> None:
        device = self.device(cloud)

        assert device.ready
        (found,) = cloud.find_devices(device.name)
        assert found == device
        assert cloud.get_device(device.id) == device

    def test_a_poll_shows_existing_devices(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        there, gone = self.device(cloud), self.device(cloud)
        cloud.delete_device(gone)

        poll = driver.poll([there, gone], self.timeout)

        assert isinstance(poll, Poll)
        ids = {*poll.unchanged, *(device.id for device in poll.seen)}
        assert (there.id in ids, gone.id in ids) == (True, False)

    def test_only_the_exact_name_is_found(self, cloud: BlockingCloud) -> None:
        name = self.device(cloud).name

        for other in (
            name[:-1],
            f"{name}0",
            name[1:],
            name.replace("-", "."),
            f"^{name}$",
            ".*",
        ):
            assert not cloud.find_devices(other)

    def test_all_devices_of_some_names_are_found(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        one, other = new_name(BASENAME), new_name(BASENAME)
        made = {
            cloud.create_device(name, self.mark()).id
            for name in (one, one, other)
        }

        found = driver.find_devices([one, other, "nobody"], self.timeout)

        assert {device.id for device in found} == made
        assert len(made) == 3

    def test_the_devices_of_a_job_are_found(
        self, cloud: BlockingCloud
    ) -> None:
        mark = self.mark("conformance job")
        made = cloud.create_device(new_name(BASENAME), mark)
        self.device(cloud)

        found = cloud.devices_of_job("conformance job")

        assert [device.id for device in found] == [made.id]

    def test_the_list_has_every_device(self, cloud: BlockingCloud) -> None:
        made = {self.device(cloud).id for _twice in range(2)}

        assert made <= {device.id for device in cloud.list_devices()}

    def test_a_mark_can_be_changed(self, cloud: BlockingCloud) -> None:
        device = self.device(cloud)
        mark = replace(self.mark("other job").handed_over(), handle="H:b:2")

        cloud.mark_device(device, mark)

        (found,) = cloud.find_devices(device.name)
        assert found.mark == mark
        (same,) = cloud.devices_of_job("other job")
        assert same.id == device.id

    @pytest.mark.parametrize("first", ["later", "earlier"])
    def test_two_workers_can_mark_a_device(
        self, cloud: BlockingCloud, first: str
    ) -> None:
        device = self.device(cloud)
        given = self.mark("again").handed_over()
        cloud.mark_device(device, given)
        (seen,) = cloud.find_devices(device.name)
        later = given.taken_over_by(Job("again", "H:b:2")).handed_over()

        marks = [later, given.withdrawn()]
        for mark in marks if first == "later" else reversed(marks):
            cloud.mark_device(seen, mark)

        (found,) = cloud.find_devices(device.name)
        assert found.mark == later
        cloud.mark_device(found, later.unconfirmed())
        (found,) = cloud.find_devices(device.name)
        assert found.mark == later.unconfirmed()

    def test_a_deleted_device_is_gone(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        device = self.device(cloud)

        cloud.delete_device(device)

        assert not cloud.find_devices(device.name)
        assert cloud.get_device(device.id) is None
        assert not driver.delete_device(device, self.timeout)

    def test_a_device_can_be_deleted_while_it_boots(
        self, cloud: BlockingCloud
    ) -> None:
        made = cloud.create_device(new_name(BASENAME), self.mark())

        cloud.delete_device(made)

        assert not cloud.find_devices(made.name)

    def test_waiting_for_a_deleted_device_fails(
        self, cloud: BlockingCloud
    ) -> None:
        made = cloud.create_device(new_name(BASENAME), self.mark())
        if made.ready:
            return  # there is nothing to wait for
        cloud.delete_device(made)

        with pytest.raises(DeviceFailed):
            cloud.wait_ready(made)

    def test_deleted_resources_cannot_be_marked(
        self, cloud: BlockingCloud
    ) -> None:
        device = self.device(cloud)
        ip = cloud.create_ip(self.mark())
        cloud.delete_device(device)
        cloud.delete_ip(ip)

        with pytest.raises(CloudError):
            cloud.mark_device(device, self.mark())
        with pytest.raises(CloudError):
            cloud.mark_ip(ip, self.mark())
