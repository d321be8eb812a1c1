"""The six actions as Libra's wire document has them, on the fake cloud."""

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

SOON = 10.0
PATTERN = "libra-stg-haproxy-eaf1fef0-1584-11e3-b42b-02163e192df9"


def build_device(manager: PoolManager) -> Message:
    answer = manager.run({"action": "BUILD_DEVICE"})
    assert answer["response"] == "PASS", answer
    return answer


def build_ip(manager: PoolManager) -> Message:
    answer = manager.run({"action": "BUILD_IP"})
    assert answer["response"] == "PASS", answer
    return answer


def run(manager: PoolManager, action: str, **fields: object) -> Message:
    return manager.run({"action": action, **fields})


def code(answer: Message) -> object:
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"]


def attached_to(cloud: FakeCloud, ip: Message) -> Device | None:
    (found,) = cloud.find_ips([str(ip["ip"])], SOON)
    return cloud.get_device(found.device_id or "", SOON)


def exists(cloud: FakeCloud, device: Message) -> bool:
    return bool(cloud.find_devices([str(device["name"])], SOON))


# -- BUILD_DEVICE -----------------------------------------------------------


def test_build_device_answers_what_the_document_says(
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


def test_the_type_has_the_base_name_as_it_was_configured(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(basename="libra_stg"))

    answer = build_device(manager)

    assert str(answer["name"]).startswith("libra-stg-")
    assert answer["type"] == "basename: libra_stg, image: fake-image"


def failing(**settings: object) -> PoolManager:
    cloud = FakeCloud(FakeSettings(**settings))  # type: ignore[arg-type]
    return PoolManager(
        cloud, PoolSettings(explain_failures=True, long_timeout=0.2)
    )


def test_a_device_that_fails_is_deleted_and_its_fault_told() -> None:
    manager = failing(boot_failure_rate=1.0)

    answer = run(manager, "BUILD_DEVICE")

    assert code(answer) == "device_failed"
    assert "the fake cloud let it fail" in str(answer["error"])
    assert "name" not in answer
    assert not manager.driver.list_devices(SOON)


def test_the_quota_is_not_a_failure_of_the_device() -> None:
    manager = failing(device_quota=1)
    build_device(manager)

    answer = run(manager, "BUILD_DEVICE")

    assert code(answer) == "quota_exceeded"


class Undeletable(FakeCloud):
    """A cloud that keeps what it has."""

    def delete_device(self, device: Device, timeout: float) -> bool:
        raise CloudRefused("it stays")


def test_a_failed_device_that_stays_is_handed_back_whole() -> None:
    cloud = Undeletable(FakeSettings(boot_failure_rate=1.0))
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))

    answer = run(manager, "BUILD_DEVICE")

    (left,) = cloud.list_devices(SOON)
    assert code(answer) == "device_not_deleted"
    assert answer["name"] == left.name
    assert {"addr", "type", "az"} <= answer.keys()


def test_a_name_in_the_request_is_not_answered_as_a_built_device() -> None:
    manager = failing(boot_failure_rate=1.0)

    answer = run(manager, "BUILD_DEVICE", name="mine", other=1)

    assert "name" not in answer
    assert answer["other"] == 1


# -- DELETE_DEVICE ----------------------------------------------------------


def test_delete_device_deletes_it(
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


def test_deleting_an_absent_device_is_a_fail(manager: PoolManager) -> None:
    assert code(run(manager, "DELETE_DEVICE", name=PATTERN)) == "not_found"


@pytest.mark.parametrize("name", ["", "l", ".*", "libra", "^l"])
def test_only_the_exact_name_is_deleted(
    manager: PoolManager, cloud: FakeCloud, name: str
) -> None:
    device = build_device(manager)

    answer = run(manager, "DELETE_DEVICE", name=name)

    assert answer["response"] == "FAIL"
    assert exists(cloud, device)


def test_of_two_devices_of_one_name_none_is_deleted(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    for _twice in range(2):
        cloud.create_device(PATTERN, None, SOON)

    assert code(run(manager, "DELETE_DEVICE", name=PATTERN)) == "ambiguous"
    assert len(cloud.find_devices([PATTERN], SOON)) == 2


class Deaf(FakeCloud):
    """A cloud that does what it is told, and whose answers are lost."""

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        super().create_device(name, mark, timeout)
        raise OutcomeUnknown("connection reset")

    def create_ip(self, mark: Mark | None, timeout: float) -> FloatingIP:
        super().create_ip(mark, timeout)
        raise OutcomeUnknown("connection reset")


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])
def test_what_was_made_unheard_of_is_found(action: str) -> None:
    cloud = Deaf()

    answer = run(PoolManager(cloud), action)

    assert answer["response"] == "PASS"
    made = [device.name for device in cloud.list_devices(SOON)]
    made += [ip.address for ip in cloud.list_ips(SOON)]
    assert made == [answer.get("name") or answer["ip"]]


def test_an_address_that_cannot_be_given_back_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Undeletable(Unmarkable):
        """Likewise, nor can it be given back."""

        def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
            raise CloudRefused("nor deleting")

    cloud = Undeletable(CloudRefused("no"), times=1)

    answer = run(PoolManager(cloud), "BUILD_IP")

    assert answer["response"] == "FAIL"
    (left,) = cloud.list_ips(SOON)
    assert f"cannot delete floating IP {left.address}: nor" in caplog.text


def test_an_address_is_nobodys_until_right_before_its_answer() -> None:
    cloud = Unmarkable(Changed("somebody wrote"), times=0)

    answer = build_ip(PoolManager(cloud))

    assert cloud.born == "building"
    (ip,) = cloud.find_ips([str(answer["ip"])], SOON)
    assert ip.mark is not None
    assert ip.mark.state == "handed over"


class Unmarkable(FakeCloud):
    """A cloud in which marking a floating IP fails, so many times."""

    def __init__(
        self, error: CloudError, times: int, effect: bool = False
    ) -> None:
        super().__init__()
        self.error, self.times, self.effect = error, times, effect
        self.born = ""

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        assert ip.mark is not None
        self.born = self.born or ip.mark.state
        self.times -= 1
        if self.times < 0 or self.effect:
            super().mark_ip(ip, mark, timeout)
        if self.times >= 0:
            raise self.error


def test_an_address_that_cannot_be_handed_over_is_given_back() -> None:
    cloud = Unmarkable(CloudRefused("no"), times=1)

    answer = run(PoolManager(cloud), "BUILD_IP")

    assert answer == {"action": "BUILD_IP", "response": "FAIL"}
    assert not cloud.list_ips(SOON)


@pytest.mark.parametrize("effect", [False, True])
def test_marking_an_address_meets_another_revision(effect: bool) -> None:
    # Its status changed meanwhile, or it was our own change, unanswered.
    cloud = Unmarkable(Changed("412"), times=1, effect=effect)

    answer = build_ip(PoolManager(cloud))

    (ip,) = cloud.list_ips(SOON)
    assert ip.address == answer["ip"]
    assert ip.mark is not None
    assert (ip.mark.state, ip.mark.taken) == ("handed over", 0)


# -- BUILD_IP, DELETE_IP ----------------------------------------------------

LONG_AGO = "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("again", "mark", "outcome"),
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
def test_a_delete_that_was_delivered_before_spares_what_may_be_anothers(
    cloud: FakeCloud, again: bool, mark: dict[str, Any] | None, outcome: str
) -> None:
    made = Mark.for_job("libra", Job("another", "H:host:1")).handed_over()
    changed = None if mark is None else replace(made, **mark)
    ip = cloud.create_ip(changed, SOON)

    async def delete() -> Message:
        async with AsyncPoolManager(
            cloud, PoolSettings(explain_failures=True)
        ) as manager:
            manager.delivered_before = asked
            return await manager.run(
                {"action": "DELETE_IP", "ip": ip.address},
                Job("unique", "H:host:7", "127.0.0.1:4730"),
            )

    async def asked(job: Job) -> bool:
        return again

    answer = asyncio.run(delete())

    assert bool(cloud.list_ips(SOON)) == (outcome != "PASS")
    error: Any = answer.get("error", {"code": answer["response"]})
    assert error["code"] == outcome


def test_build_ip_answers_id_and_address_as_text(
    manager: PoolManager,
) -> None:
    answer = build_ip(manager)

    assert answer.keys() == {"action", "id", "ip", "response"}
    assert isinstance(answer["id"], str)
    assert answer["ip"] == "198.18.0.1"


def test_delete_ip_works_while_attached(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device, ip = build_device(manager), build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    answer = run(manager, "DELETE_IP", ip=ip["ip"])

    assert answer["response"] == "PASS"
    assert not cloud.list_ips(SOON)
    assert code(run(manager, "DELETE_IP", ip=ip["ip"])) == "not_found"


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
    on = attached_to(cloud, ip)
    assert on is not None
    assert on.name == device["name"]


def test_an_address_moves_to_the_device_that_takes_over(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    first, second = build_device(manager), build_device(manager)
    ip = build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=first["name"])

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=second["name"])

    assert answer["response"] == "PASS"
    on = attached_to(cloud, ip)
    assert on is not None
    assert on.name == second["name"]


class Forgetful(FakeCloud):
    """A cloud that loses the first requests to attach."""

    lost = 2

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        if self.lost:
            self.lost -= 1
        else:
            super().attach_ip(ip, device, timeout)


def test_an_attachment_that_was_lost_is_asked_for_again() -> None:
    cloud = Forgetful()
    manager = PoolManager(cloud)
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert answer["response"] == "PASS"
    assert attached_to(cloud, ip) is not None


def test_an_attachment_that_never_takes_effect_is_a_fail() -> None:
    cloud = Forgetful()
    cloud.lost = 1_000_000
    settings = PoolSettings(short_timeout=0.5, explain_failures=True)
    manager = PoolManager(cloud, settings)
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert code(answer) == "deadline"


def test_a_change_by_somebody_else_is_read_again() -> None:
    class Busy(FakeCloud):
        raced = False

        def attach_ip(
            self, ip: FloatingIP, device: Device, timeout: float
        ) -> None:
            if not self.raced:
                self.raced = True
                assert ip.mark is not None
                self.mark_ip(ip, ip.mark, timeout)
            super().attach_ip(ip, device, timeout)

    cloud = Busy()
    manager = PoolManager(cloud)
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert cloud.raced
    assert answer["response"] == "PASS"


@pytest.mark.parametrize(("port", "passes"), [(80, True), (443, False)])
def test_a_closed_check_port_is_a_fail_and_detaches(
    port: int, passes: bool
) -> None:
    cloud = FakeCloud(FakeSettings(closed_port=443))
    manager = PoolManager(
        cloud,
        PoolSettings(check_port=port, short_timeout=0.3),
    )
    device, ip = build_device(manager), build_ip(manager)

    answer = run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    assert (answer["response"] == "PASS") is passes
    assert (attached_to(cloud, ip) is not None) is passes


def test_a_closed_check_port_detaches_nothing_of_another_worker() -> None:
    # The link was lost, and the job has come to another worker: it finds
    # the port open and answers PASS.
    cloud = FakeCloud(FakeSettings(closed_port=443))
    manager = PoolManager(
        cloud, PoolSettings(check_port=443, short_timeout=0.3)
    )
    device, ip = build_device(manager), build_ip(manager)
    message = {"action": "ASSIGN_IP", "ip": ip["ip"], "name": device["name"]}

    lost = manager.submit(message, Job("u", "H:a:1", "127.0.0.1:4730"))
    lost.connection_lost()

    assert lost.future.result(SOON).answer["response"] == "FAIL"
    assert attached_to(cloud, ip) is not None


def test_remove_ip_keeps_the_address(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    device, ip = build_device(manager), build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=device["name"])

    for _twice in range(2):
        answer = run(manager, "REMOVE_IP", ip=ip["ip"], name=device["name"])
        assert answer["response"] == "PASS"
    assert attached_to(cloud, ip) is None


def test_remove_ip_leaves_another_devices_address_alone(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    first, second = build_device(manager), build_device(manager)
    ip = build_ip(manager)
    run(manager, "ASSIGN_IP", ip=ip["ip"], name=first["name"])

    answer = run(manager, "REMOVE_IP", ip=ip["ip"], name=second["name"])

    assert code(answer) == "attached_elsewhere"
    on = attached_to(cloud, ip)
    assert on is not None
    assert on.name == first["name"]


# -- deliveries -------------------------------------------------------------


def test_a_redelivered_build_takes_over_the_device_it_left(
    cloud: FakeCloud,
) -> None:
    settings = PoolSettings()
    old = Job("unique", "H:host:1")
    left = cloud.create_device(
        "libra-left", Mark.for_job(settings.pool, old), SOON
    )
    ip = cloud.create_ip(Mark.for_job(settings.pool, old), SOON)
    manager = PoolManager(cloud, settings)
    new = Job("unique", "H:host:7")

    device = manager.run({"action": "BUILD_DEVICE"}, new)

    assert device["name"] == left.name
    assert manager.run({"action": "BUILD_IP"}, new)["ip"] == ip.address
    assert len(cloud.list_devices(SOON)) == 1
    assert len(cloud.list_ips(SOON)) == 1


def test_a_device_that_fails_while_it_is_taken_over_is_built_anew() -> None:
    class Failing(FakeCloud):
        """The device that was left fails as it is waited for."""

        def poll(self, devices: Collection[Device], timeout: float) -> Poll:
            poll = super().poll(devices, timeout)
            fails = [d for d in poll.seen if d.name == "libra-left"]
            failed = [replace(d, status="failed") for d in fails]
            return replace(poll, seen=failed or poll.seen)

    with closing(Failing(FakeSettings(boot_time=0.3))) as cloud:
        mark = Mark.for_job("libra", Job("unique", "H:host:1"))
        cloud.create_device("libra-left", mark, SOON)

        answer = PoolManager(cloud).run(
            {"action": "BUILD_DEVICE"}, Job("unique", "H:host:7")
        )

        assert answer["response"] == "PASS"
        (there,) = cloud.list_devices(SOON)
        assert there.name == answer["name"] != "libra-left"


class Late(FakeCloud):
    """A cloud that makes what a dead worker asked for a while ago."""

    late: Mark | None = None

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        if self.late is not None:
            super().create_device("libra-late", self.late, timeout)
        return super().create_device(name, mark, timeout)


@pytest.mark.parametrize(
    ("handle", "state", "stays"),
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
def test_what_the_same_delivery_made_besides_is_deleted(
    handle: str, state: State, stays: bool
) -> None:
    cloud = Late()
    mark = Mark.for_job("libra", Job("unique", handle))
    cloud.late = replace(mark, state=state)

    answer = PoolManager(cloud).run(
        {"action": "BUILD_DEVICE"}, Job("unique", "H:host:1")
    )

    assert answer["response"] == "PASS"
    there = {device.name for device in cloud.list_devices(SOON)}
    assert there == {answer["name"], *(["libra-late"] if stays else [])}


@pytest.mark.parametrize("request_text", REQUESTS)
def test_a_documented_request_works_to_the_letter(request_text: str) -> None:
    # The names and addresses of the document have to be there.
    cloud = FakeCloud(FakeSettings(ip_range="15.185.234.125/32"))
    manager = PoolManager(cloud, PoolSettings(basename="libra-stg-haproxy"))
    action = json.loads(request_text.replace(",\n}", "\n}"))["action"]
    cloud.create_device(PATTERN, None, SOON)
    if action != "BUILD_IP":
        build_ip(manager)

    assert manager.run(request_text.encode())["response"] == "PASS"
