"""What every driver has to do, as tests."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.errors import (
    Changed,
    CloudError,
    DeadlineExceeded,
    DeviceFailed,
    Stopped,
)
from poolmgr.ownership import Job, Mark, new_name
from poolmgr.waiting import Deadline, Stop

#: What the tests make bears this pool's mark, and is deleted by it.
POOL = "poolmgr-conformance"
BASENAME = "conformance"


class DriverConformance:
    """Subclass it and give it a fixture ``driver``.

    The cloud needs room for four devices and two floating IPs. Whatever the
    tests make is deleted after each.

    :cvar patience: seconds that a call, or a boot, may take
    """

    patience = 60.0

    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        """The driver to test."""
        raise NotImplementedError("give the class a fixture 'driver'")

    @pytest.fixture(autouse=True)
    def _swept(self, driver: Driver) -> Iterator[None]:
        yield
        for device in driver.list_devices(self.soon()):
            if device.mark and device.mark.pool == POOL:
                driver.delete_device(device, self.soon())
        for ip in driver.list_ips(self.soon()):
            if ip.mark and ip.mark.pool == POOL:
                driver.delete_ip(ip, self.soon())

    def soon(self) -> Deadline:
        """A deadline that a healthy cloud meets."""
        return Deadline(self.patience)

    def mark(self, unique: str = "") -> Mark:
        """A mark of these tests, of a job of its own if none is named."""
        job = Job(unique, "H:here:1") if unique else Job.by_hand()
        return Mark.for_job(POOL, job)

    def device(self, driver: Driver) -> Device:
        """A device that is ready."""
        made = driver.create_device(
            new_name(BASENAME), self.mark(), self.soon()
        )
        return driver.wait_for_device(made, self.soon())

    def again(self, driver: Driver, ip: FloatingIP) -> FloatingIP:
        """A floating IP as the cloud has it now."""
        found = driver.find_ip(ip.address, self.soon())
        assert found is not None
        return found

    # -- devices ------------------------------------------------------------

    def test_a_device_is_marked_from_birth(self, driver: Driver) -> None:
        mark, name = self.mark(), new_name(BASENAME)

        made = driver.create_device(name, mark, self.soon())

        assert (made.name, made.mark) == (name, mark)
        (found,) = driver.find_devices(name, self.soon())
        assert (found.id, found.mark) == (made.id, mark)

    def test_a_device_becomes_ready(self, driver: Driver) -> None:
        device = self.device(driver)

        assert device.status == "active"
        assert device.address
        assert device.ready
        (found,) = driver.find_devices(device.name, self.soon())
        assert found == device

    def test_only_the_exact_name_is_found(self, driver: Driver) -> None:
        device = self.device(driver)

        for name in (
            device.name[:-1],
            f"{device.name}0",
            device.name[1:],
            device.name.replace("-", "."),
            f"^{device.name}$",
            ".*",
        ):
            assert not driver.find_devices(name, self.soon())

    def test_all_devices_of_one_name_are_found(self, driver: Driver) -> None:
        name = new_name(BASENAME)
        made = {
            driver.create_device(name, self.mark(), self.soon()).id
            for _twice in range(2)
        }

        found = driver.find_devices(name, self.soon())

        assert {device.id for device in found} == made
        assert len(made) == 2

    def test_a_jobs_devices_are_found(self, driver: Driver) -> None:
        mark = self.mark("conformance job")
        made = driver.create_device(new_name(BASENAME), mark, self.soon())
        self.device(driver)

        found = driver.devices_of_job("conformance job", self.soon())

        assert [device.id for device in found] == [made.id]

    def test_the_list_has_every_device(self, driver: Driver) -> None:
        made = {self.device(driver).id for _twice in range(2)}

        assert made <= {d.id for d in driver.list_devices(self.soon())}

    def test_a_mark_can_be_changed(self, driver: Driver) -> None:
        device = self.device(driver)
        mark = replace(self.mark("other job").handed_over(), handle="H:b:2")

        driver.mark_device(device, mark, self.soon())

        (found,) = driver.find_devices(device.name, self.soon())
        assert found.mark == mark
        (same,) = driver.devices_of_job("other job", self.soon())
        assert same.id == device.id

    def test_two_may_mark_a_device_at_once(self, driver: Driver) -> None:
        device = self.device(driver)
        given = self.mark("again").handed_over()
        driver.mark_device(device, given, self.soon())
        (seen,) = driver.find_devices(device.name, self.soon())
        later = given.taken_over_by(Job("again", "H:b:2")).handed_over()

        driver.mark_device(seen, later, self.soon())
        driver.mark_device(seen, given.withdrawn(), self.soon())

        (found,) = driver.find_devices(device.name, self.soon())
        assert found.mark == later
        driver.mark_device(found, later.unconfirmed(), self.soon())
        (found,) = driver.find_devices(device.name, self.soon())
        assert found.mark == later.unconfirmed()

    def test_a_deleted_device_is_gone_when_the_call_returns(
        self, driver: Driver
    ) -> None:
        device = self.device(driver)

        driver.delete_device(device, self.soon())

        assert not driver.find_devices(device.name, self.soon())
        driver.delete_device(device, self.soon())  # and again is no error

    def test_a_device_can_be_deleted_while_it_boots(
        self, driver: Driver
    ) -> None:
        made = driver.create_device(
            new_name(BASENAME), self.mark(), self.soon()
        )

        driver.delete_device(made, self.soon())

        assert not driver.find_devices(made.name, self.soon())

    def test_who_waits_for_a_device_that_goes_is_told(
        self, driver: Driver
    ) -> None:
        made = driver.create_device(
            new_name(BASENAME), self.mark(), self.soon()
        )
        if made.ready:
            return  # nobody can wait for it
        driver.delete_device(made, self.soon())

        with pytest.raises(DeviceFailed):
            driver.wait_for_device(made, self.soon())

    def test_what_is_gone_cannot_be_marked(self, driver: Driver) -> None:
        device = self.device(driver)
        ip = driver.create_ip(self.mark(), self.soon())
        driver.delete_device(device, self.soon())
        driver.delete_ip(ip, self.soon())

        with pytest.raises(CloudError):
            driver.mark_device(device, self.mark(), self.soon())
        with pytest.raises(CloudError):
            driver.mark_ip(ip, self.mark(), self.soon())

    # -- floating IPs -------------------------------------------------------

    def test_a_floating_ip_is_marked_from_birth(self, driver: Driver) -> None:
        mark = self.mark("conformance address")

        made = driver.create_ip(mark, self.soon())

        assert made.device_id is None
        found = self.again(driver, made)
        assert (found.id, found.mark) == (made.id, mark)
        (same,) = driver.ips_of_job("conformance address", self.soon())
        assert same.id == made.id
        assert made.id in {ip.id for ip in driver.list_ips(self.soon())}

    def test_a_floating_ips_mark_can_be_changed(self, driver: Driver) -> None:
        ip = driver.create_ip(self.mark(), self.soon())
        mark = self.mark("its new job").handed_over()

        driver.mark_ip(ip, mark, self.soon())

        changed = self.again(driver, ip)
        assert changed.mark == mark
        with pytest.raises(Changed):
            driver.mark_ip(ip, mark.withdrawn(), self.soon())
        driver.mark_ip(changed, mark.withdrawn(), self.soon())
        assert self.again(driver, ip).mark == mark.withdrawn()

    def test_an_address_that_is_not_there_is_not_found(
        self, driver: Driver
    ) -> None:
        ip = driver.create_ip(self.mark(), self.soon())
        driver.delete_ip(ip, self.soon())

        assert driver.find_ip(ip.address, self.soon()) is None
        driver.delete_ip(ip, self.soon())  # and again is no error

    def test_a_floating_ip_is_attached_and_detached(
        self, driver: Driver
    ) -> None:
        device = self.device(driver)
        ip = driver.create_ip(self.mark(), self.soon())
        assert driver.device_of_ip(ip, self.soon()) is None

        driver.attach_ip(ip, device, self.soon())

        attached = self.again(driver, ip)
        assert attached.device_id == device.id
        on = driver.device_of_ip(attached, self.soon())
        assert on is not None
        assert on.id == device.id
        assert attached.mark == ip.mark

        driver.detach_ip(attached, self.soon())

        assert self.again(driver, ip).device_id is None

    def test_a_floating_ip_moves_in_one_step(self, driver: Driver) -> None:
        first, second = self.device(driver), self.device(driver)
        ip = driver.create_ip(self.mark(), self.soon())
        driver.attach_ip(ip, first, self.soon())

        driver.attach_ip(self.again(driver, ip), second, self.soon())

        assert self.again(driver, ip).device_id == second.id

    def test_a_change_meanwhile_is_noticed(self, driver: Driver) -> None:
        first, second = self.device(driver), self.device(driver)
        seen = driver.create_ip(self.mark(), self.soon())
        driver.attach_ip(seen, first, self.soon())

        with pytest.raises(Changed):
            driver.attach_ip(seen, second, self.soon())
        with pytest.raises(Changed):
            driver.detach_ip(seen, self.soon())

        assert self.again(driver, seen).device_id == first.id

    def test_a_floating_ip_can_be_deleted_while_attached(
        self, driver: Driver
    ) -> None:
        device = self.device(driver)
        ip = driver.create_ip(self.mark(), self.soon())
        driver.attach_ip(ip, device, self.soon())

        driver.delete_ip(self.again(driver, ip), self.soon())

        assert driver.find_ip(ip.address, self.soon()) is None
        assert driver.find_devices(device.name, self.soon())

    def test_a_floating_ip_outlives_its_device(self, driver: Driver) -> None:
        device = self.device(driver)
        ip = driver.create_ip(self.mark(), self.soon())
        driver.attach_ip(ip, device, self.soon())

        driver.delete_device(device, self.soon())

        assert self.again(driver, ip).device_id is None

    # -- time and threads ---------------------------------------------------

    def test_nothing_is_begun_when_the_time_is_up(
        self, driver: Driver
    ) -> None:
        name = new_name(BASENAME)
        stop = Stop()
        stop.set()

        with pytest.raises(DeadlineExceeded):
            driver.create_device(name, self.mark(), Deadline(0.0))
        with pytest.raises(Stopped):
            driver.create_device(name, self.mark(), Deadline(60.0, stop))

        assert not driver.find_devices(name, self.soon())

    def test_many_threads_may_use_it_at_once(self, driver: Driver) -> None:
        ip = driver.create_ip(self.mark(), self.soon())
        devices = [self.device(driver) for _twice in range(2)]
        started = threading.Barrier(8)

        def use(number: int) -> tuple[str, str]:
            # Drivers may ask the cloud for several names in one question.
            started.wait(self.patience)
            name = devices[number % 2].name
            (found,) = driver.find_devices(name, self.soon())
            return found.id, self.again(driver, ip).id

        with ThreadPoolExecutor(8) as pool:
            for _round in range(3):
                seen = set(pool.map(use, range(8)))
                assert seen == {(device.id, ip.id) for device in devices}

    def test_of_two_who_attach_at_once_one_is_told(
        self, driver: Driver
    ) -> None:
        devices = [self.device(driver), self.device(driver)]
        ip = driver.create_ip(self.mark(), self.soon())
        started = threading.Barrier(2)

        def attach(device: Device) -> str | None:
            started.wait(self.patience)
            try:
                driver.attach_ip(ip, device, self.soon())
            except Changed:
                return None
            return device.id

        with ThreadPoolExecutor(2) as pool:
            won = [w for w in pool.map(attach, devices) if w is not None]

        assert won == [self.again(driver, ip).device_id]
