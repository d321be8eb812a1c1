"""What every driver has to do, as tests."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from poolmgr.cloud import BlockingCloud, Pace, open_cloud
from poolmgr.drivers.base import Device, Driver, Poll
from poolmgr.errors import Changed, CloudError, DeviceFailed
from poolmgr.ownership import Job, Mark, new_name

#: What the tests make bears this pool's mark, and is deleted by it.
POOL = "poolmgr-conformance"
BASENAME = "conformance"


class DriverConformance:
    """Subclass it and give it a fixture ``driver``.

    The cloud needs room for four devices and two floating IPs. Whatever the
    tests make is deleted after each, and the driver closed.

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

    # -- devices ------------------------------------------------------------

    def test_a_device_is_marked_from_birth(self, cloud: BlockingCloud) -> None:
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

    def test_a_look_shows_what_is_there(
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

    def test_a_jobs_devices_are_found(self, cloud: BlockingCloud) -> None:
        mark = self.mark("conformance job")
        made = cloud.create_device(new_name(BASENAME), mark)
        self.device(cloud)

        found = cloud.devices_of_job("conformance job")

        assert [device.id for device in found] == [made.id]

    def test_the_list_has_every_device(self, cloud: BlockingCloud) -> None:
        made = {self.device(cloud).id for _twice in range(2)}

        assert made <= {device.id for device in cloud.list_devices()}

    def test_what_a_lost_creation_has_made_is_found(
        self, driver: Driver, cloud: BlockingCloud
    ) -> None:
        name, mark = new_name(BASENAME), self.mark("lost")
        ip_mark = self.mark("lost address")
        device, ip = cloud.create_device(name, mark), cloud.create_ip(ip_mark)

        found = driver.find_created("device", name, mark, self.timeout)
        ips = driver.find_created("ip", "", ip_mark, self.timeout)

        assert [each.id for each in found] == [device.id]
        assert [each.id for each in ips] == [ip.id]

    def test_a_mark_can_be_changed(self, cloud: BlockingCloud) -> None:
        device = self.device(cloud)
        mark = replace(self.mark("other job").handed_over(), handle="H:b:2")

        cloud.mark_device(device, mark)

        (found,) = cloud.find_devices(device.name)
        assert found.mark == mark
        (same,) = cloud.devices_of_job("other job")
        assert same.id == device.id

    def test_two_may_mark_a_device_at_once(self, cloud: BlockingCloud) -> None:
        device = self.device(cloud)
        given = self.mark("again").handed_over()
        cloud.mark_device(device, given)
        (seen,) = cloud.find_devices(device.name)
        later = given.taken_over_by(Job("again", "H:b:2")).handed_over()

        cloud.mark_device(seen, later)
        cloud.mark_device(seen, given.withdrawn())

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

    def test_who_waits_for_a_device_that_goes_is_told(
        self, cloud: BlockingCloud
    ) -> None:
        made = cloud.create_device(new_name(BASENAME), self.mark())
        if made.ready:
            return  # nobody can wait for it
        cloud.delete_device(made)

        with pytest.raises(DeviceFailed):
            cloud.wait_ready(made)

    def test_what_is_gone_cannot_be_marked(self, cloud: BlockingCloud) -> None:
        device = self.device(cloud)
        ip = cloud.create_ip(self.mark())
        cloud.delete_device(device)
        cloud.delete_ip(ip)

        with pytest.raises(CloudError):
            cloud.mark_device(device, self.mark())
        with pytest.raises(CloudError):
            cloud.mark_ip(ip, self.mark())

    # -- floating IPs -------------------------------------------------------

    def test_a_floating_ip_is_marked_from_birth(
        self, cloud: BlockingCloud
    ) -> None:
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

    def test_an_address_that_was_given_back_is_not_found(
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

    def test_a_change_meanwhile_is_noticed(
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

    def test_a_floating_ip_can_be_deleted_while_attached(
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

    # -- threads ------------------------------------------------------------

    def test_many_threads_may_use_it_at_once(
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

    def test_of_two_who_attach_at_once_one_is_told(
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
