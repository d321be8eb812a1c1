"""Every driver passes the public conformance suite."""

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

#: These clouds show at once what there is.
PACE = Pace(out_of_sight=0.5)


class TestFakeCloud(DriverConformance):
    pace = PACE

    @pytest.fixture(params=["at once", "slowly", "in a file"])
    def driver(self, request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
        settings = {
            "at once": FakeSettings(),
            "slowly": FakeSettings(boot_time=0.1, call_time=0.001),
            "in a file": FakeSettings(state=str(tmp_path / "state.db")),
        }[request.param]
        return FakeCloud(settings)


class TestRack(DriverConformance):
    @pytest.fixture
    def driver(self) -> Driver:
        return Rack(RackSettings())


class TestNova(DriverConformance):
    pace = PACE

    @pytest.fixture(params=["at once", "slowly"])
    def driver(self, request: pytest.FixtureRequest) -> Iterator[Driver]:
        cloud = {
            "at once": LoopbackCloud(),
            "slowly": LoopbackCloud(
                boot_time=0.2,
                address_delay=0.1,
                delete_time=0.1,
                latency=0.01,
            ),
        }[request.param]
        with cloud, nova_on(cloud) as driver:
            yield driver
