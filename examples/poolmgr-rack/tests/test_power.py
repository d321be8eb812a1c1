"""POWER_CYCLE."""

from collections.abc import Mapping

import pytest
from poolmgr_rack.power import PowerCycle
from poolmgr_rack.rack import Rack, RackSettings

from poolmgr import PoolManager
from poolmgr.testing import ActionConformance


class TestPowerCycle(ActionConformance):
    """What every action has to do, and what this one does."""

    action = PowerCycle

    @pytest.fixture
    def driver(self) -> Rack:
        """The fake cloud cannot do it, a rack can."""
        return Rack(RackSettings())

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        """Build the device that the request names."""
        return {"name": manager.execute("BUILD_DEVICE")["name"]}

    def test_a_busy_power_strip_is_asked_again(
        self, manager: PoolManager, driver: Rack
    ) -> None:
        """The second request meets the strip while it is busy."""
        built = manager.execute("BUILD_DEVICE")

        for _ in range(2):
            answer = manager.execute(self.NAME, name=built["name"])
            assert answer == {"addr": built["addr"]}

        assert driver.power_cycles == [built["addr"]] * 2
