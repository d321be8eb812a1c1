"""Tests of the six actions of Libra's wire document, on the fake cloud."""

import asyncio
import json
import re
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from poolmgr import AsyncPoolManager, Job, PoolManager
from poolmgr.cli.demo import REQUESTS
from poolmgr.drivers.base import Device, FloatingIP, Poll
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import (
    Changed,
    CloudError,
    CloudRefused,
    OutcomeUnknown,
)
from poolmgr.jobs.message import Message
from poolmgr.ownership import Mark, State
from poolmgr.settings import PoolSettings

TIMEOUT = 10.0
DEVICE_NAME = "libra-stg-haproxy-eaf1fef0-1584-11e3-b42b-02163e192df9"


def build_device(manager: PoolManager) -> Message:
    """Build a device and return its answer, a PASS."""
    answer = manager.run({"action": "BUILD_DEVICE"})
    assert answer["response"] == "PASS", answer
    return answer


def build_ip(manager: PoolManager) -> Message:
    """Build a floating IP and return its answer, a PASS."""
    answer = manager.run({"action": "BUILD_IP"})
    assert answer["response"] == "PASS", answer
    return answer


def run(manager: PoolManager, action: str, **fields: object) -> Message:
    """Run an action and return its answer."""
    return manager.run({"action": action, **fields})


def error_code(answer: Message) -> object:
    """Return the error code of a FAIL."""
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"]


def device_of(cloud: FakeCloud, ip: Message) -> Device | None:
    """Return the device that a floating IP is attached to."""
    (found,) = cloud.find_ips([str(ip["ip"])], TIMEOUT)
    return cloud.get_device(found.device_id or "", TIMEOUT)


def exists(cloud: FakeCloud, device: Message) -> bool:
    """Return whether the cloud has a device."""
    return bool(cloud.find_devices([str(device["name"])], TIMEOUT))


# -- BUILD_DEVICE -----------------------------------------------------------


def test_build_device_answers_as_documented(
    manager: PoolManager,
) -> None:
    answer = build_device(manager)

    assert re.fullmatch(
        r"libra-stg-haproxy-[0-9a-f-]{36}", str(answer["name"])
    )
    assert answer == {
        "action": "BUILD_DEVICE",
        "response": "PASS",
        "name": answer["name"],
        "addr": "10.0.0.1",
        "type": "basename: libra-stg-haproxy, image: fake-image",
        "az": "3",
    }


def test_the_type_has_the_configured_basename(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(basename="libra_stg"))

    answer = build_device(manager)

    assert str(answer["name"]).startswith("libra-stg-")
    assert answer["type"] == "basename: libra_stg, image: fake-image"


def manager_of(**settings: object) -> PoolManager:
    """Return a pool manager whose fake cloud has these settings."""
    cloud = FakeCloud(FakeSettings(**settings))  # type: ignore[arg-type]
    return PoolManager(
        cloud, PoolSettings(explain_failures=True, long_timeout=TIMEOUT)
    )


def test_a_failed_device_is_deleted_and_its_fault_is_reported() -> None:
    manager = manager_of(boot_failure_rate=1.0)

    answer = run(manager, "BUILD_DEVICE")

    assert error_code(answer) == "device_failed"
    assert "the fake cloud let it fail" in str(answer["error"])
    assert "name" not in answer
    assert not manager.driver.list_devices(TIMEOUT)


def test_a_used_up_quota_is_not_reported_as_a_failed_device() -> None:
    manager = manager_of(device_quota=1)
    build_device(manager)

    answer = run(manager, "BUILD_DEVICE")

    assert error_code(answer) == "quota_exceeded"


class Undeletable(FakeCloud):
    """A cloud that refuses to delete devices."""

    def delete_device(self, device: Device, timeout: float) -> bool:
        raise CloudRefused("not deleted")


def test_a_failed_device_that_cannot_be_deleted_is_answered_in_full() -> None:
    cloud = Undeletable(FakeSettings(boot_failure_rate=1.0))
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))

    answer = run(manager, "BUILD_DEVICE")

    (left,) = cloud.list_devices(TIMEOUT)
    assert error_code(answer) == "device_not_deleted"
    assert answer["name"] == left.name
    assert {"addr", "type", "az"} <= answer.keys()


def test_a_failed_build_does_not_answer_the_name_of_its_request() -> None:
    manager = manager_of(boot_failure_rate=1.0)

    answer = run(manager, "BUILD_DEVICE", name="mine", other=1)

    assert "name" not in answer
    assert answer["other"] == 1


# -- DELETE_DEVICE ----------------------------------------------------------


def test_delete_device_deletes_the_device(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device = build_device(manager)

    answer = run(manager, "DELETE_DEVICE", name=device["name"])

    assert answer == {
        "action": "DELETE_DEVICE",
        "name": device["name"],
        "response": "PASS",
    }
    assert not exists(cloud, device)


def test_deleting_an_absent_device_fails(manager: PoolManager) -> None:
    assert (
        error_code(run(manager, "DELETE_DEVICE", name=DEVICE_NAME))
        == "not_found"
    )


@pytest.mark.parametrize("name", ["", "l", ".*", "libra", "^l"])
def test_only_the_exact_name_is_deleted(
    manager: PoolManager, cloud: FakeCloud, name: str
) -> None:
    device = build_device(manager)

    answer = run(manager, "DELETE_DEVICE", name=name)

    assert answer["response"] == "FAIL"
    assert exists(cloud, device)


def test_two_devices_of_one_name_are_not_deleted(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    for _twice in range(2):
        cloud.create_device(DEVICE_NAME, None, TIMEOUT)

    assert (
        error_code(run(manager, "DELETE_DEVICE", name=DEVICE_NAME))
        == "ambiguous"
    )
    assert len(cloud.find_devices([DEVICE_NAME], TIMEOUT)) == 2


# -- lost answers and failing marks ------------------------------------------


class LostAnswers(FakeCloud):
    """A cloud that creates resources and loses the answers."""

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        super().create_device(name, mark, timeout)
        raise OutcomeUnknown("connection reset")

    def create_ip(self, mark: Mark | None, timeout: float) -> FloatingIP:
        super().create_ip(mark, timeout)
        raise OutcomeUnknown("connection reset")


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])
def test_a_creation_whose_answer_is_lost_is_found(action: str) -> None:
    cloud = LostAnswers()

    answer = run(PoolManager(cloud), action)

    assert answer["response"] == "PASS"
    created = [device.name for device in cloud.list_devices(TIMEOUT)]
    created += [ip.address for ip in cloud.list_ips(TIMEOUT)]
    assert created == [answer.get("name") or answer["ip"]]


class Unmarkable(FakeCloud):
    """A cloud in which marking a floating IP fails at first.

    :param times: number of failures
    :param effect: whether a failed call takes effect
    :ivar first_state: of the mark before the first call
    """

    def __init__(
        self, error: CloudError, times: int, effect: bool = False
    ) -> None:
        super().__init__()
        self.error, self.times, self.effect = error, times, effect
        self.first_state = ""

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        assert ip.mark is not None
        self.first_state = self.first_state or ip.mark.state
        self.times -= 1
        if self.times < 0 or self.effect:
            super().mark_ip(ip, mark, timeout)
        if self.times >= 0:
            raise self.error


def test_a_floating_ip_that_cannot_be_released_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Undeletable(Unmarkable):
        """A cloud that also refuses to delete floating IPs."""

        def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
            raise CloudRefused("not deleted")

    cloud = Undeletable(CloudRefused("no"), times=1)

    answer = run(PoolManager(cloud), "BUILD_IP")

    assert answer["response"] == "FAIL"
    (left,) = cloud.list_ips(TIMEOUT)
    assert f"cannot delete floating IP {left.address}: not" in caplog.text


def test_a_floating_ip_is_handed_over_right_before_its_answer() -> None:
    cloud = Unmarkable(Changed("changed by another client"), times=0)

    answer = build_ip(PoolManager(cloud))

    assert cloud.first_state == "building"
    (ip,) = cloud.find_ips([str(answer["ip"])], TIMEOUT)
    assert ip.mark is not None
    assert ip.mark.state == "handed over"


def test_a_floating_ip_that_cannot_be_marked_is_released() -> None:
    cloud = Unmarkable(CloudRefused("no"), times=1)

    answer = run(PoolManager(cloud), "BUILD_IP")

    assert answer == {"action": "BUILD_IP", "response": "FAIL"}
    assert not cloud.list_ips(TIMEOUT)


@pytest.mark.parametrize("effect", [False, True])
def test_marking_a_floating_ip_is_retried_after_a_conflict(
    effect: bool,
) -> None:
    # The revision changed with its status, or by poolmgr's own lost call.
    cloud = Unmarkable(Changed("412"), times=1, effect=effect)

    answer = build_ip(PoolManager(cloud))

    (ip,) = cloud.list_ips(TIMEOUT)
    assert ip.address == answer["ip"]
    assert ip.mark is not None
    assert (ip.mark.state, ip.mark.taken) == ("handed over", 0)


# -- BUILD_IP, DELETE_IP ----------------------------------------------------

LONG_AGO = "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("redelivered", "mark", "outcome"),
    [
        (False, None, "PASS"),
        (True, None, "changed"),
        (True, {"handle": "H:host:8"}, "changed"),
        (True, {"handle": "H:other:3"}, "changed"),
        (True, {"handle": ""}, "changed"),
        (True, {"handle": "H:host:6"}, "PASS"),
        (True, {"handle": "H:host:6", "state": "building"}, "changed"),
        (True, {"handle": "H:host:8", "made": LONG_AGO}, "PASS"),
    ],
)
def test_a_redelivered_delete_keeps_a_floating_ip_of_another_job(
    cloud: FakeCloud,
    redelivered: bool,
    mark: dict[str, Any] | None,
    outcome: str,
) -> None:
    other = Mark.for_job("libra", Job("another", "H:host:1")).handed_over()
    changed = None if mark is None else replace(other, **mark)
    ip = cloud.create_ip(changed, TIMEOUT)

    async def delete() -> Message:
        async with AsyncPoolManager(
            cloud, PoolSettings(explain_failures=True)
        ) as manager:
            manager.delivered_before = delivered_before
            return await manager.run(
                {"action": "DELETE_IP", "ip": ip.address},
                Job("unique", "H:host:7", "127.0.0.1:4730"),
            )

    async def delivered_before(job: Job) -> bool:
        return redelivered

    answer = asyncio.run(delete())

    assert bool(cloud.list_ips(TIMEOUT)) == (outcome != "PASS")
    error: Any = answer.get("error", {"code": answer["response"]})
    assert error["code"] == outcome


def test_build_ip_answers_id_and_address_as_text(
    manager: PoolManager,
) -> None:
    answer = build_ip(manager)

    assert answer.keys() == {"action", "id", "ip", "response"}
    assert isinstance(answer["id"], str)
    assert answer["ip"] == "198.18.0.1"


def test_delete_ip_releases_an_attached_floating_ip(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device, ip = build_device(manager), build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    answer = run(manager, "DELETE_IP", ip=ip["ip"])

    assert answer["response"] == "PASS"
    assert not cloud.list_ips(TIMEOUT)
    assert error_code(run(manager, "DELETE_IP", ip=ip["ip"])) == "not_found"


# -- ASSIGN_IP, REMOVE_IP ---------------------------------------------------


def test_assigning_twice_passes_twice(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device, ip = build_device(manager), build_ip(manager)

    for _twice in range(2):
        answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])
        assert answer == {
            "action": "ASSIGN_IP",
            "ip": ip["ip"],
            "name": device["name"],
            "response": "PASS",
        }
    attached_to = device_of(cloud, ip)
    assert attached_to is not None
    assert attached_to.name == device["name"]


def test_assign_ip_moves_a_floating_ip_from_another_device(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    first, second = build_device(manager), build_device(manager)
    ip = build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=first["name"])

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=second["name"])

    assert answer["response"] == "PASS"
    attached_to = device_of(cloud, ip)
    assert attached_to is not None
    assert attached_to.name == second["name"]


class LostAttachments(FakeCloud):
    """A cloud that loses the first attachments.

    :cvar lost: how many
    """

    lost = 2

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        if self.lost:
            self.lost -= 1
        else:
            super().attach_ip(ip, device, timeout)


def test_a_lost_attachment_is_repeated() -> None:
    cloud = LostAttachments()
    manager = PoolManager(cloud)
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert answer["response"] == "PASS"
    assert device_of(cloud, ip) is not None


def test_an_attachment_without_effect_fails_at_the_deadline() -> None:
    cloud = LostAttachments()
    cloud.lost = 1_000_000
    settings = PoolSettings(explain_failures=True)
    manager = PoolManager(cloud, settings)
    device, ip = build_device(manager), build_ip(manager)
    manager.adopt(replace(settings, short_timeout=0.5))

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert error_code(answer) == "deadline"


def test_assign_ip_is_retried_after_a_conflict() -> None:
    class Conflicting(FakeCloud):
        conflicted = False

        def attach_ip(
            self, ip: FloatingIP, device: Device, timeout: float
        ) -> None:
            if not self.conflicted:
                self.conflicted = True
                assert ip.mark is not None
                self.mark_ip(ip, ip.mark, timeout)
            super().attach_ip(ip, device, timeout)

    cloud = Conflicting()
    manager = PoolManager(cloud)
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert cloud.conflicted
    assert answer["response"] == "PASS"


@pytest.mark.parametrize(("port", "passes"), [(80, True), (443, False)])
def test_a_closed_check_port_fails_the_job_and_detaches(
    port: int, passes: bool
) -> None:
    cloud = FakeCloud(FakeSettings(closed_port=443))
    settings = PoolSettings(check_port=port)
    manager = PoolManager(cloud, settings)
    device, ip = build_device(manager), build_ip(manager)
    if not passes:
        manager.adopt(replace(settings, short_timeout=0.3))

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert (answer["response"] == "PASS") is passes
    assert (device_of(cloud, ip) is not None) is passes


class NoPortCheck(FakeCloud):
    """A driver whose check of a port has a bug."""

    def accepts(self, address: str, port: int, timeout: float) -> bool:
        raise ZeroDivisionError


def test_a_failed_check_of_the_port_detaches() -> None:
    cloud = NoPortCheck()
    manager = PoolManager(cloud, PoolSettings(check_port=443))
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert answer["response"] == "FAIL"
    assert device_of(cloud, ip) is None


def test_a_closed_check_port_does_not_detach_after_a_lost_connection() -> None:
    # The job server has delivered the job to another worker, which may have
    # found the port open and answered PASS.
    cloud = FakeCloud(FakeSettings(closed_port=443))
    settings = PoolSettings(check_port=443)
    manager = PoolManager(cloud, settings)
    device, ip = build_device(manager), build_ip(manager)
    manager.adopt(replace(settings, short_timeout=0.3))
    message = {"action": "ASSIGN_IP", "ip": ip["ip"], "name": device["name"]}

    lost = manager.submit(message, Job("u", "H:a:1", "127.0.0.1:4730"))
    lost.connection_lost()

    assert lost.future.result(TIMEOUT).answer["response"] == "FAIL"
    assert device_of(cloud, ip) is not None


def test_remove_ip_detaches_and_keeps_the_floating_ip(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device, ip = build_device(manager), build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    for _twice in range(2):
        answer = run(manager, "REMOVE_IP", ip=ip["ip"], name=device["name"])
        assert answer["response"] == "PASS"
    assert device_of(cloud, ip) is None


def test_remove_ip_does_not_detach_from_another_device(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    first, second = build_device(manager), build_device(manager)
    ip = build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=first["name"])

    answer = run(manager, "REMOVE_IP", ip=ip["ip"], name=second["name"])

    assert error_code(answer) == "attached_elsewhere"
    attached_to = device_of(cloud, ip)
    assert attached_to is not None
    assert attached_to.name == first["name"]


# -- deliveries -------------------------------------------------------------


def test_redelivered_builds_take_over_their_device_and_floating_ip(
    cloud: FakeCloud,
) -> None:
    settings = PoolSettings()
    old = Job("unique", "H:host:1")
    left = cloud.create_device(
        "libra-left", Mark.for_job(settings.pool, old), TIMEOUT
    )
    ip = cloud.create_ip(Mark.for_job(settings.pool, old), TIMEOUT)
    manager = PoolManager(cloud, settings)
    new = Job("unique", "H:host:7")

    device = manager.run({"action": "BUILD_DEVICE"}, new)

    assert device["name"] == left.name
    assert manager.run({"action": "BUILD_IP"}, new)["ip"] == ip.address
    assert len(cloud.list_devices(TIMEOUT)) == 1
    assert len(cloud.list_ips(TIMEOUT)) == 1


def test_a_device_that_fails_after_its_takeover_is_replaced() -> None:
    class Failing(FakeCloud):
        """A cloud in which the earlier delivery's device fails to boot."""

        def poll(self, devices: Collection[Device], timeout: float) -> Poll:
            poll = super().poll(devices, timeout)
            left = [d for d in poll.seen if d.name == "libra-left"]
            failed = [replace(d, status="failed") for d in left]
            return replace(poll, seen=failed or poll.seen)

    with closing(Failing(FakeSettings(boot_time=0.3))) as cloud:
        mark = Mark.for_job("libra", Job("unique", "H:host:1"))
        cloud.create_device("libra-left", mark, TIMEOUT)

        answer = PoolManager(cloud).run(
            {"action": "BUILD_DEVICE"}, Job("unique", "H:host:7")
        )

        assert answer["response"] == "PASS"
        (device,) = cloud.list_devices(TIMEOUT)
        assert device.name == answer["name"] != "libra-left"


class Late(FakeCloud):
    """A cloud that creates a device for an earlier request.

    :cvar late: the mark of the earlier request
    """

    late: Mark | None = None

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        if self.late is not None:
            super().create_device("libra-late", self.late, timeout)
        return super().create_device(name, mark, timeout)


@pytest.mark.parametrize(
    ("handle", "state", "kept"),
    [
        ("H:host:1", "building", False),
        ("H:host:2", "building", True),
        ("H:host:1", "handed over", False),
        ("H:host:2", "handed over", True),
        ("H:host:1", "withdrawn", False),
        ("H:host:1", "unconfirmed", False),
        ("H:host:2", "unconfirmed", True),
    ],
)
def test_an_extra_device_of_the_same_delivery_is_deleted(
    handle: str, state: State, kept: bool
) -> None:
    cloud = Late()
    mark = Mark.for_job("libra", Job("unique", handle))
    cloud.late = replace(mark, state=state)

    answer = PoolManager(cloud).run(
        {"action": "BUILD_DEVICE"}, Job("unique", "H:host:1")
    )

    assert answer["response"] == "PASS"
    names = {device.name for device in cloud.list_devices(TIMEOUT)}
    assert names == {answer["name"], *(["libra-late"] if kept else [])}


@pytest.mark.parametrize("request_text", REQUESTS)
def test_a_documented_request_works_verbatim(request_text: str) -> None:
    # The device and the floating IP of the document must exist.
    cloud = FakeCloud(FakeSettings(ip_range="15.185.234.125/32"))
    manager = PoolManager(cloud, PoolSettings(basename="libra-stg-haproxy"))
    action = json.loads(request_text.replace(",\n}", "\n}"))["action"]
    cloud.create_device(DEVICE_NAME, None, TIMEOUT)
    if action != "BUILD_IP":
        build_ip(manager)

    assert manager.run(request_text.encode())["response"] == "PASS"
