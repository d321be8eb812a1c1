"""Loopback clouds and workers on them, each in a process of its own."""

import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import yaml
from servers import process

from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.gearman import Address

#: What devices are made of here.
MADE_OF: Mapping[str, Any] = {
    "image": "tiny",
    "flavor": "m1.nano",
    "networks": ("private",),
    "floating_network": "public",
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Cloud:
    """A loopback cloud in a process of its own.

    :ivar url: where it is
    :ivar clouds_yaml: file that names it "loopback"
    :ivar auth: the credentials in it
    """

    url: str
    clouds_yaml: str
    auth: Mapping[str, str]

    def driver(self, **more: Any) -> NovaCloud:
        """A driver on it.

        :param more: other settings of the driver
        """
        return NovaCloud(NovaSettings(**self.auth, **MADE_OF, **more))

    def record(self) -> list[Json]:
        """Every call since this was asked last."""
        record: list[Json] = requests.get(
            f"{self.url}/record", timeout=120
        ).json()
        self.forget()
        return record

    def forget(self) -> None:
        """Begin the record anew."""
        requests.delete(f"{self.url}/record", timeout=120)

    def counts(self) -> Counter[str]:
        """How many calls there were, by "compute POST 202" and so on."""
        found = requests.get(f"{self.url}/record/counts", timeout=120)
        return Counter(found.json())

    def calls(self) -> Counter[str]:
        """Calls since this was asked last, by service."""
        return Counter(call["service"] for call in self.record())

    def fault(self, **rule: Any) -> None:
        """Put a fault in force."""
        requests.post(
            f"{self.url}/faults", json=rule, timeout=30
        ).raise_for_status()


@contextlib.contextmanager
def cloud(**options: object) -> Iterator[Cloud]:
    """A cloud that goes on while the block runs.

    :param options: of ``python -m poolmgr.testing.openstack``
    """
    command = [sys.executable, "-m", "poolmgr.testing.openstack"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        path = running.stdout.readline().strip()
        try:
            with open(path) as file:
                clouds = yaml.safe_load(file)["clouds"]
            yield Cloud(url, path, clouds["loopback"]["auth"])
        finally:
            running.terminate()


@contextlib.contextmanager
def worker(
    address: Address, there: Cloud, **options: object
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker on a cloud that goes on while the block runs.

    :param options: of its configuration: "worker__long_jobs" and so on
    """
    given: dict[str, object] = {
        "NOVA__CLOUD": "loopback",
        **{f"NOVA__{name.upper()}": value for name, value in MADE_OF.items()},
        **{name.upper(): value for name, value in options.items()},
    }
    environment = {
        f"OS_{name}": ",".join(value) if isinstance(value, tuple) else value
        for name, value in given.items()
    }
    command = [sys.executable, "-m", "poolmgr", "--quiet"]
    command += ["--gearman-server", str(address), "worker"]
    with process(
        *command,
        env={
            **os.environ,
            **{name: str(value) for name, value in environment.items()},
            "OS_CLIENT_CONFIG_FILE": there.clouds_yaml,
        },
    ) as running:
        yield running
