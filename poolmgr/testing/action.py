"""The tests that every action must pass."""

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

#: What clients send by mistake.
_OTHER_KINDS: tuple[object, ...] = (
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


#: Seconds for a call of the driver.
_TIMEOUT = 30.0


class ActionConformance:
    """Subclass this, and set ``action`` and, if needed, ``message``.

    The action need not be installed. It runs on a fake cloud in memory;
    override the fixture ``driver`` to use another one.

    :cvar action: the action's class
    :cvar message: fields of a request that passes; ``prepare`` creates what
        they need
    """

    #: What it is called in these tests.
    NAME = "THE_ACTION"

    action: ClassVar[type[Action[Any]]]
    message: ClassVar[Mapping[str, object]] = {}

    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        """The cloud."""
        driver = FakeCloud(FakeSettings())
        yield driver
        driver.close()

    @pytest.fixture
    def manager(self, driver: Driver) -> Iterator[PoolManager]:
        """A manager that runs the action; a FAIL has its reason."""
        settings = PoolSettings(explain_failures=True)
        given = {self.NAME: self.action}
        with PoolManager(driver, settings, given) as manager:
            yield manager

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        """Create what the action needs.

        :returns: more fields for the message, such as the name of a device
            that was built
        """
        return {}

    def request(self, manager: PoolManager) -> dict[str, object]:
        """A message that passes."""
        return {
            "action": self.NAME,
            **self.message,
            **self.prepare(manager),
        }

    def test_it_is_made_as_an_action_is(self) -> None:
        assert defect(self.action) is None

    def test_its_command_has_help(self) -> None:
        assert description(self.action), "its class has no docstring"
        for field in dataclasses.fields(self.action.takes):
            assert field.metadata.get("help"), f"{field.name} has no help"

    def test_a_job_is_answered_with_all_that_it_names(
        self, manager: PoolManager
    ) -> None:
        request = self.request(manager)

        answer = manager.run(json.dumps(request).encode())

        assert answer["response"] == "PASS", answer.get("error")
        added = {*answer} - {*request} - {"response"}
        assert added == {*self.action.answers} - {*request}
        assert json.loads(json.dumps(answer)) == answer

    def test_what_else_is_in_a_message_comes_back(
        self, manager: PoolManager
    ) -> None:
        others = {"x-loadbalancer": {"id": [1, None]}}

        answer = manager.run({**self.request(manager), **others})

        assert answer["response"] == "PASS", answer.get("error")
        assert answer["x-loadbalancer"] == others["x-loadbalancer"]

    def test_a_field_that_is_missing_is_named(
        self, manager: PoolManager
    ) -> None:
        request = self.request(manager)
        for field in dataclasses.fields(self.action.takes):
            if is_required(field):
                without = {k: request[k] for k in request if k != field.name}
                error = _error(manager.run(without))
                assert error["code"] == "invalid_field"
                assert field.name in error["message"]

    def test_what_a_field_cannot_be_is_refused_or_put_up_with(
        self, manager: PoolManager
    ) -> None:
        request = self.request(manager)
        for field in dataclasses.fields(self.action.takes):
            for value in _OTHER_KINDS:
                answer = manager.run({**request, field.name: value})
                if answer["response"] == "FAIL":
                    error = _error(answer)
                    # The plugin's own mistake, as an AttributeError.
                    assert error["code"] != "plugin_failed", (
                        f"{field.name} = {value!r}: {error['message']}"
                    )

    def test_it_touches_nothing_of_another_pool(
        self, manager: PoolManager
    ) -> None:
        foreign = _Foreign(manager)
        request = self.request(manager)

        manager.run(request)
        for field in dataclasses.fields(self.action.takes):
            value = foreign.instead_of(request.get(field.name))
            if value is not None:
                manager.run({**request, field.name: value})

        assert foreign.now() == foreign.before, "it changed what is not ours"


class _Foreign:
    """A device and a floating IP of another pool."""

    def __init__(self, manager: PoolManager) -> None:
        self._driver = driver = manager.driver
        self._cloud = manager.cloud
        mark = Mark.for_job("another", Job.by_hand()).handed_over()
        device = driver.create_device("another-1", mark, _TIMEOUT)
        self.device = self._cloud.wait_ready(device)
        self.ip = driver.create_ip(mark, _TIMEOUT)
        driver.attach_ip(self.ip, self.device, _TIMEOUT)
        self.before = self.now()

    def now(self) -> list[object]:
        """What there is to see of them."""
        devices = self._cloud.list_devices()
        ips = self._cloud.list_ips()
        return [
            *((d.id, d.status, d.mark) for d in devices if self._is(d)),
            *((i.id, i.device_id, i.mark) for i in ips if self._is(i)),
        ]

    def instead_of(self, value: object) -> str | None:
        """The same kind of name or address, of these."""
        if any(value == each.name for each in self._cloud.list_devices()):
            return self.device.name
        if any(value == each.address for each in self._cloud.list_ips()):
            return self.ip.address
        return None

    def _is(self, thing: Device | FloatingIP) -> bool:
        return thing.id in (self.device.id, self.ip.id)


def _error(answer: Mapping[str, Any]) -> dict[str, Any]:
    assert answer["response"] == "FAIL"
    error: dict[str, Any] = answer["error"]
    return error
