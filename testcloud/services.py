"""The daemons besides MariaDB: memcached and the five APIs under uWSGI."""

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from testcloud.location import HOST, Location
from testcloud.processes import Daemons

INSIDE = "testcloud/inside"


@dataclass(frozen=True)
class Api:
    """An OpenStack API.

    :ivar name: the service
    :ivar module: the module of its WSGI application
    :ivar threads: concurrent requests of each process
    :ivar processes: number of processes
    :ivar code: the module of this package that it runs
    """

    name: str
    module: str
    threads: int = 4
    processes: int = 1
    code: tuple[str, ...] = ()

    def environment(self, location: Location) -> dict[str, str]:
        """Return the variables with which it finds its configuration."""
        variable = f"OS_{self.name.split('-')[0].upper()}_CONFIG_DIR"
        return {variable: str(location.etc / self.name)}


APIS = {
    api.name: api
    for api in (
        Api("keystone", "keystone.wsgi.api"),
        Api("keystone-short", "keystone.wsgi.api", threads=2),
        Api("placement", "placement.wsgi.api"),
        Api("glance", "glance.wsgi.api"),
        Api(
            "neutron",
            "testcloud.inside.neutron_app",
            processes=2,
            code=("neutron_app.py", "neutron_agents.py"),
        ),
        # One process, because its parts share memory.
        Api(
            "nova",
            "testcloud.inside.nova_app",
            threads=8,
            code=("nova_app.py", "nova_driver.py"),
        ),
    )
}


def start_memcached(location: Location, daemons: Daemons) -> None:
    """Start memcached, the cache of validated tokens."""
    port = str(location.port_of("memcached"))
    command = ["memcached", f"--listen={HOST}", f"--port={port}"]
    command += ["--udp-port=0", "--memory-limit=64"]
    if os.geteuid() == 0:
        command += ["--user=root"]
    daemons.start("memcached", command)


def start(location: Location, daemons: Daemons, name: str) -> None:
    """Start an API without waiting for it."""
    api = APIS[name]
    configuration = location.etc / name
    code = location.code / INSIDE
    command: list[str | Path] = [
        location.venv / "bin" / "uwsgi",
        f"--http-socket={HOST}:{location.port_of(name)}",
        f"--module={api.module}:application",
        f"--virtualenv={location.venv}",
        f"--threads={api.threads}",
        "--enable-threads",
        "--lazy-apps",
        "--need-app",
        "--die-on-term",
        "--buffer-size=65535",
        "--add-header=Connection: close",
        "--log-format=%(ltime) %(method) %(uri) %(status) %(msecs) ms",
    ]
    if api.processes > 1:
        command += ["--master", "--no-orphans", "--worker-reload-mercy=1"]
        command += [f"--processes={api.processes}"]
    daemons.start(
        name,
        command,
        location.installed,
        *sorted(configuration.rglob("*.*")),
        *(code / module for module in api.code),
        **api.environment(location),
    )


def answers(location: Location, name: str, timeout: float = 60.0) -> bool:
    """Return whether an API answers within a number of seconds."""
    try:
        urllib.request.urlopen(location.url(name), timeout=timeout).close()
    except urllib.error.HTTPError as error:
        return (
            error.code == 300
        )  # the status of Nova's and Glance's lists of versions
    except OSError:
        return False
    return True
