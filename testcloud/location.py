"""The cloud's folder and ports."""

import os
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_PORT = 22000
# In the order of their ports. MariaDB has a Unix socket and no port.
SERVICES = (
    "keystone",
    "keystone-short",
    "placement",
    "glance",
    "neutron",
    "nova",
    "memcached",
)


@dataclass(frozen=True)
class Location:
    """A cloud's folder and ports.

    :ivar root: the folder of all its files
    :ivar port: the first of its ports
    """

    root: Path
    port: int = DEFAULT_PORT

    @classmethod
    def from_environment(cls) -> "Location":
        """Return the location of ``TESTCLOUD_DIR`` and ``TESTCLOUD_PORT``.

        The default folder is ``poolmgr-testcloud`` in the user's cache.
        """
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = os.environ.get("TESTCLOUD_DIR") or (
            Path(cache) / "poolmgr-testcloud"
        )
        port = os.environ.get("TESTCLOUD_PORT") or DEFAULT_PORT
        return cls(Path(folder).expanduser().resolve(), int(port))

    @property
    def venv(self) -> Path:
        """The virtual environment of OpenStack."""
        return self.root / "venv"

    @property
    def installed(self) -> Path:
        """The list of packages that are installed in the environment."""
        return self.venv / "testcloud-installed"

    @property
    def etc(self) -> Path:
        """The folder of the services' configuration."""
        return self.root / "etc"

    @property
    def data(self) -> Path:
        """The folder of databases, keys and images; a reset deletes it."""
        return self.root / "data"

    @property
    def records(self) -> Path:
        """The folder of records of started processes."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """The folder of the logs of services and commands."""
        return self.root / "logs"

    @property
    def code(self) -> Path:
        """The folder with a copy of this package for the services."""
        return self.root / "code"

    @property
    def clouds_file(self) -> Path:
        """The clouds.yaml for clients."""
        return self.root / "clouds.yaml"

    @property
    def knobs_file(self) -> Path:
        """The file of the knobs."""
        return self.root / "knobs.json"

    @property
    def database_socket(self) -> Path:
        """The path of MariaDB's socket."""
        return self.root / "run" / "mariadb.sock"

    def port_of(self, service: str) -> int:
        """Return the TCP port of a service."""
        return self.port + SERVICES.index(service)

    def url(self, service: str) -> str:
        """Return the root URL of a service's API."""
        path = "/v3" if service.startswith("keystone") else ""
        return f"http://{HOST}:{self.port_of(service)}{path}"

    def database(self, name: str) -> str:
        """Return the URL of a database."""
        return (
            f"mysql+pymysql://root@localhost/{name}"
            f"?unix_socket={self.database_socket}&charset=utf8mb4"
        )

    def is_done(self, step: str) -> bool:
        """Return whether a step that runs only once is finished."""
        return (self.data / f"done-{step}").exists()

    def mark_done(self, step: str) -> None:
        """Record that a step is finished."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / f"done-{step}").touch()

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment variables of all processes.

        Settings of the user's own OpenStack clients must not leak into it.
        """
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept = ("LANG", "LC_ALL", "TZ")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{self.venv / 'bin'}:{system}",
            "HOME": str(self.data),
            "PYTHONPATH": str(self.code),
            "PYTHONWARNINGS": "ignore",
            "PYTHONUNBUFFERED": "1",
            "TESTCLOUD_DIR": str(self.root),
            "TESTCLOUD_PORT": str(self.port),
            **more,
        }


def clouds_file() -> Path:
    """The clouds.yaml of the cloud that the environment names."""
    return Location.from_environment().clouds_file
