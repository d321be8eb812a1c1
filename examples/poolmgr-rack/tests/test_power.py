"""POWER_CYCLE."""

from collections.abc import Mapping

import pytest
from poolmgr_rack.power import PowerCycle
from poolmgr_rack.rack import Rack, RackSettings

from poolmgr import Job, PoolManager
from poolmgr.errors import NotOwned
from poolmgr.ownership import Mark
from poolmgr.testing import ActionConformance


class TestPowerCycle(ActionConformance):
    """The tests that every action must pass, and specific ones."""

    action = PowerCycle

    @pytest.fixture
    def driver(self) -> Rack:
        """Use a rack: the fake cloud has no power strip."""
        return Rack(RackSettings())

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        """Build the device that the request names."""
        return {"name": manager.execute("BUILD_DEVICE")["name"]}

    def test_a_busy_power_strip_is_retried(
        self, manager: PoolManager, driver: Rack
    ) -> None:
        """The strip is busy at the second request."""
        built = manager.execute("BUILD_DEVICE")

        for _ in range(2):
            answer = manager.execute(self.NAME, name=built["name"])
            assert answer == {"addr": built["addr"]}

        assert driver.power_cycles == [built["addr"]] * 2

    def test_a_device_of_another_pool_is_left_alone(
        self, manager: PoolManager, driver: Rack
    ) -> None:
        """The conformance tests do not see a power cycle."""
        mark = Mark.for_job("another", Job.by_hand())
        driver.create_device("another-1", mark, timeout=5.0)

        with pytest.raises(NotOwned):
            manager.execute(self.NAME, name="another-1")

        assert driver.power_cycles == []
