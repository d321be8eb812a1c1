"""Tests of the drivers with the public conformance suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from poolmgr_rack.rack import Rack, RackSettings

from poolmgr.cloud import Pace
from poolmgr.drivers.base import Driver
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.testing import DriverConformance
from poolmgr.testing.openstack import LoopbackCloud
from tests.clouds import nova_on

#: These clouds list a new resource immediately.
PACE = Pace(out_of_sight=0.5)


class TestFakeCloud(DriverConformance):
    pace = PACE

    @pytest.fixture(params=["instant", "slow", "state file"])
    def driver(self, request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
        settings = {
            "instant": FakeSettings(),
            "slow": FakeSettings(boot_time=0.1, call_time=0.001),
            "state file": FakeSettings(state=str(tmp_path / "state.db")),
        }[request.param]
        return FakeCloud(settings)


class TestRack(DriverConformance):
    @pytest.fixture
    def driver(self) -> Driver:
        return Rack(RackSettings())


class TestNova(DriverConformance):
    pace = PACE

    @pytest.fixture(params=["instant", "slow"])
    def driver(self, request: pytest.FixtureRequest) -> Iterator[Driver]:
        cloud = {
            "instant": LoopbackCloud(),
            "slow": LoopbackCloud(
                boot_time=0.2,
                address_delay=0.1,
                delete_time=0.1,
                latency=0.01,
            ),
        }[request.param]
        with cloud, nova_on(cloud) as driver:
            yield driver
