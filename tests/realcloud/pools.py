"""A pool on the real cloud."""

import json
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolmgr import PoolManager
from poolmgr.cloud import BlockingCloud, open_cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.jobs.message import Message
from poolmgr.settings import PoolSettings
from tests.clouds import MADE_OF, nova_group
from tests.processes import Process, poolmgr

TIMEOUT = 300.0


@dataclass(frozen=True)
class Pool:
    """The pool of one test.

    :ivar name: its name, and the prefix of its devices' names
    :ivar folder: a folder for files
    """

    name: str
    folder: Path

    def settings(self, **changes: Any) -> NovaSettings:
        """Return the driver's settings."""
        common = {"cloud": "testcloud", **MADE_OF}
        return NovaSettings(**{**common, **changes})

    @contextmanager
    def driver(self, **changes: Any) -> Iterator[NovaCloud]:
        """Yield a driver."""
        driver = NovaCloud(self.settings(**changes))
        try:
            yield driver
        finally:
            driver.close()

    @contextmanager
    def openstack(self, **changes: Any) -> Iterator[BlockingCloud]:
        """Yield the cloud as actions see it."""
        driver = NovaCloud(self.settings(**changes))
        with open_cloud(driver, timeout=TIMEOUT) as openstack:
            yield openstack

    @contextmanager
    def manager(self, **changes: Any) -> Iterator[PoolManager]:
        """Yield a manager that explains failures."""
        pool = PoolSettings(
            pool=self.name, basename=self.name, explain_failures=True
        )
        with self.driver(**changes) as driver:
            with PoolManager(driver, pool) as manager:
                yield manager

    @contextmanager
    def worker(self, server: object) -> Iterator[Process]:
        """Run a worker that is registered with a job server."""
        process = Process(self._command(server, "worker"))
        try:
            yield process
        finally:
            process.end()

    def submit(self, server: object, message: Mapping[str, object]) -> Message:
        """Submit a job to a worker and return the answer."""
        command = self._command(server, "submit", json.dumps(message))
        submitted = poolmgr(*command)
        assert submitted.stdout, submitted.stderr
        answer: Message = json.loads(submitted.stdout)
        return answer

    def devices(self) -> list[Device]:
        """Return the devices with this pool's mark."""
        with self.openstack() as openstack:
            found = openstack.list_devices()
        return [d for d in found if d.mark and d.mark.pool == self.name]

    def ips(self) -> list[FloatingIP]:
        """Return the floating IPs with this pool's mark."""
        with self.openstack() as openstack:
            found = openstack.list_ips()
        return [ip for ip in found if ip.mark and ip.mark.pool == self.name]

    def sweep(self, cloud: str) -> None:
        """Delete all resources with this pool's mark."""
        with (
            self.openstack(cloud=cloud) as openstack,
            ThreadPoolExecutor() as threads,
        ):
            for ip in openstack.list_ips():
                if ip.mark and ip.mark.pool == self.name:
                    openstack.delete_ip(ip)
            going = [
                threads.submit(openstack.delete_device, device)
                for device in openstack.list_devices()
                if device.mark and device.mark.pool == self.name
            ]
            for each in going:
                each.result()

    def _command(self, server: object, *args: str) -> list[str]:
        # Others that run may be reading theirs.
        path = self.folder / f"{uuid.uuid4().hex}.conf"
        path.write_text(
            f"[poolmgr]\npool = {self.name}\nbasename = {self.name}\n"
            "explain_failures = true\n"
            f"{nova_group('testcloud')}"
            f"[gearman]\nservers = {server}\n"
        )
        return ["--config-file", str(path), *args]
