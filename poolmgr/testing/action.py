"""Conformance tests for actions."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from poolmgr import PoolManager
from poolmgr.actions.base import Action, defect, description, is_required
from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Job, Mark
from poolmgr.settings import PoolSettings

#: Values that clients send by mistake.
_WRONG_VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1.5,
    [],
    {},
    "",
    "a\nb",
    "\x1b[31m",
    "x" * 999,
)

#: Time limit of a driver call, in seconds.
_TIMEOUT = 30.0


class ActionConformance:
    """Conformance tests: subclass this and set ``action``.

    The action need not be installed; its name in the tests is ``self.NAME``.
    It runs on a fake cloud in memory; override the fixture ``driver`` to use
    another cloud.

    :cvar action: the action's class
    :cvar message: the fields of a valid request. If they depend on resources
        in the cloud, override ``prepare`` instead, or as well.
    """

    #: The name of the action in these tests.
    NAME = "THE_ACTION"

    action: ClassVar[type[Action[Any]]]
    message: ClassVar[Mapping[str, object]] = {}

    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        """The driver of the cloud to run on."""
        driver = FakeCloud(FakeSettings())
        yield driver
        driver.close()

    @pytest.fixture
    def manager(self, driver: Driver) -> Iterator[PoolManager]:
        """A manager that runs the action; its FAILs have reasons."""
        settings = PoolSettings(explain_failures=True)
        given = {self.NAME: self.action}
        with PoolManager(driver, settings, given) as manager:
            yield manager

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        """Create the resources that the action needs.

        :returns: more fields of the message, such as the name of a new device
        """
        return {}

    def request(self, manager: PoolManager) -> dict[str, object]:
        """Return a valid message."""
        return {
            "action": self.NAME,
            **self.message,
            **self.prepare(manager),
        }

    def test_the_class_is_valid(self) -> None:
        assert defect(self.action) is None

    def test_its_command_has_help(self) -> None:
        assert description(self.action), "its class has no docstring"
        for field in dataclasses.fields(self.action.takes):
            assert field.metadata.get("help"), f"{field.name} has no help"

    def test_the_answer_has_all_announced_fields(
        self, manager: PoolManager
    ) -> None:
        request = self.request(manager)

        answer = manager.run(json.dumps(request).encode())

        assert answer["response"] == "PASS", answer.get("error")
        added = {*answer} - {*request} - {"response"}
        assert added == {*self.action.answers} - {*request}
        assert json.loads(json.dumps(answer)) == answer

    def test_other_fields_are_returned(self, manager: PoolManager) -> None:
        others = {"x-loadbalancer": {"id": [1, None]}}

        answer = manager.run({**self.request(manager), **others})

        assert answer["response"] == "PASS", answer.get("error")
        assert answer["x-loadbalancer"] == others["x-loadbalancer"]

    def test_a_missing_field_is_named(self, manager: PoolManager) -> None:
        request = self.request(manager)
        for field in dataclasses.fields(self.action.takes):
            if is_required(field):
                without = {k: request[k] for k in request if k != field.name}
                error = _error(manager.run(without))
                assert error["code"] == "invalid_field"
                assert field.name in error["message"]

    def test_wrong_values_are_refused_or_accepted(
        self, manager: PoolManager
    ) -> None:
        request = self.request(manager)
        for field in dataclasses.fields(self.action.takes):
            for value in _WRONG_VALUES:
                answer = manager.run({**request, field.name: value})
                if answer["response"] == "FAIL":
                    error = _error(answer)
                    # This would be a bug of the plugin.
                    assert error["code"] != "plugin_failed", (
                        f"{field.name} = {value!r}: {error['message']}"
                    )

    def test_resources_of_other_pools_are_not_touched(
        self, manager: PoolManager
    ) -> None:
        foreign = _ForeignResources(manager)
        request = self.request(manager)

        manager.run(request)
        for field in dataclasses.fields(self.action.takes):
            value = foreign.counterpart_of(request.get(field.name))
            if value is not None:
                manager.run({**request, field.name: value})

        assert foreign.state() == foreign.before, (
            "it changed a resource of another pool"
        )


class _ForeignResources:
    """A device and a floating IP of another pool."""

    def __init__(self, manager: PoolManager) -> None:
        self._driver = driver = manager.driver
        self._cloud = manager.cloud
        mark = Mark.for_job("another", Job.by_hand()).handed_over()
        device = driver.create_device("another-1", mark, _TIMEOUT)
        self.device = self._cloud.wait_ready(device)
        self.ip = driver.create_ip(mark, _TIMEOUT)
        driver.attach_ip(self.ip, self.device, _TIMEOUT)
        self.before = self.state()

    def state(self) -> list[object]:
        """Return the visible state of both."""
        devices = self._cloud.list_devices()
        ips = self._cloud.list_ips()
        return [
            *(
                (d.id, d.status, d.mark)
                for d in devices
                if self._is_foreign(d)
            ),
            *((i.id, i.device_id, i.mark) for i in ips if self._is_foreign(i)),
        ]

    def counterpart_of(self, value: object) -> str | None:
        """Return the foreign name or address to use in place of a value."""
        if any(value == each.name for each in self._cloud.list_devices()):
            return self.device.name
        if any(value == each.address for each in self._cloud.list_ips()):
            return self.ip.address
        return None

    def _is_foreign(self, resource: Device | FloatingIP) -> bool:
        return resource.id in (self.device.id, self.ip.id)


def _error(answer: Mapping[str, Any]) -> dict[str, Any]:
    assert answer["response"] == "FAIL"
    error: dict[str, Any] = answer["error"]
    return error
