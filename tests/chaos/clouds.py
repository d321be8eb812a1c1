"""The clouds that a run can use."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from openstack.config import OpenStackConfig
from openstack.connection import Connection

import testcloud
from poolmgr.drivers.base import Driver
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from tests.chaos.plan import Plan
from tests.chaos.pool import scene
from tests.clouds import MADE_OF, nova_group

Json = dict[str, Any]
_TIMEOUT = 30.0


class Cloud:
    """A cloud.

    :ivar settings: its part of the workers' configuration, which continues
        the group ``[poolmgr]``
    :ivar environment: variables for the workers
    """

    settings = ""
    environment: Mapping[str, str] = {}

    def driver(self) -> Driver:
        """Return a new driver; the caller closes it."""
        raise NotImplementedError

    def trouble(self, fault: Json) -> None:
        """Inject a fault, if the cloud supports that."""

    def calm(self) -> None:
        """Remove all faults."""

    def record(self) -> list[Json]:
        """Return the calls of all workers, if the cloud records them."""
        return []

    def close(self, pool: str) -> None:
        """Stop the cloud, or delete the pool's resources in it."""


class LoopbackProcess(Cloud):
    """The loopback OpenStack as a separate process."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        path = folder / "clouds.yaml"
        self._log = (folder / "cloud.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "poolmgr.testing.openstack"),
                *("--latency", str(plan.latency)),
                *("--boot-time", str(plan.boot_time)),
                *("--boot-spread", str(plan.boot_spread)),
                *("--clouds-yaml", str(path)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        self._url = self._process.stdout.readline().strip()
        self._process.stdout.readline()  # now the file exists
        self._auth = json.loads(path.read_text())["clouds"]["loopback"]["auth"]
        self.settings = nova_group("loopback", call_timeout=5)
        self.environment = {"OS_CLIENT_CONFIG_FILE": str(path)}

    def driver(self) -> Driver:
        """See :meth:`Cloud.driver`."""
        return NovaCloud(NovaSettings(**self._auth, **MADE_OF))

    def trouble(self, fault: Json) -> None:
        """See :meth:`Cloud.trouble`."""
        self._ask("POST", "/faults", fault)

    def calm(self) -> None:
        """See :meth:`Cloud.calm`."""
        self._ask("DELETE", "/faults")

    def record(self) -> list[Json]:
        """See :meth:`Cloud.record`."""
        calls: list[Json] = self._ask("GET", "/record").json()
        return calls

    def close(self, pool: str) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.wait(_TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _ask(
        self, method: str, path: str, body: Json | None = None
    ) -> requests.Response:
        answer = requests.request(
            method, f"{self._url}{path}", json=body, timeout=_TIMEOUT
        )
        answer.raise_for_status()
        return answer


class FakeFile(Cloud):
    """The fake cloud in a file; it fails at random by itself."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._state = str(folder / "cloud.db")
        failures = (
            "call_failure_rate = 0.01\nboot_failure_rate = 0.03\n"
            if plan.faults
            else ""
        )
        self.settings = (
            f"driver = fake\n[fake]\nstate = {self._state}\n"
            f"call_time = {plan.latency}\nboot_time = {plan.boot_time}\n"
            f"boot_spread = {plan.boot_spread}\n{failures}"
        )

    def driver(self) -> Driver:
        """See :meth:`Cloud.driver`."""
        return FakeCloud(FakeSettings(state=self._state))


class RealCloud(Cloud):
    """The OpenStack that ``./dev cloud up`` started."""

    def __init__(self) -> None:
        self._file = testcloud.Location.from_environment().clouds_file
        self.settings = nova_group("testcloud", call_timeout=5)
        self.environment = {"OS_CLIENT_CONFIG_FILE": str(self._file)}

    def driver(self) -> Driver:
        """See :meth:`Cloud.driver`."""
        config = OpenStackConfig(
            config_files=[str(self._file)], load_envvars=False
        )
        settings = NovaSettings(cloud="testcloud", **MADE_OF)
        return _Owning(
            settings, Connection(config=config.get_one("testcloud"))
        )

    def close(self, pool: str) -> None:
        """Delete the pool's resources."""
        driver = self.driver()
        try:
            resources = scene(driver, pool)
            for ip in resources.ips:
                driver.delete_ip(ip, _TIMEOUT)
            for device in resources.devices:
                driver.delete_device(device, _TIMEOUT)
        finally:
            driver.close()


class _Owning(NovaCloud):
    """A driver that also closes the connection it was given."""

    def __init__(self, settings: NovaSettings, connection: Connection) -> None:
        super().__init__(settings, connection)
        self._given = connection

    def close(self) -> None:
        """Close both."""
        super().close()
        self._given.close()


def make(plan: Plan, folder: Path) -> Cloud:
    """Return the cloud of a plan."""
    if plan.cloud == "real":
        return RealCloud()
    if plan.cloud == "fake":
        return FakeFile(plan, folder)
    return LoopbackProcess(plan, folder)
