"""Where the cloud lives: its folder and its ports."""

import os
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_PORT = 22000
# The order is the ports' order. MariaDB has a Unix socket and no port.
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

    :ivar root: the folder with all its state
    :ivar port: the first of its ports
    """

    root: Path
    port: int = DEFAULT_PORT

    @classmethod
    def from_environment(cls) -> "Location":
        """What ``TESTCLOUD_DIR`` and ``TESTCLOUD_PORT`` say, or the defaults.

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
        """The virtual environment that OpenStack is in."""
        return self.root / "venv"

    @property
    def installed(self) -> Path:
        """Which packages are in the virtual environment, once they are."""
        return self.venv / "testcloud-installed"

    @property
    def etc(self) -> Path:
        """The services' configuration."""
        return self.root / "etc"

    @property
    def data(self) -> Path:
        """Databases, keys, images: what a reset forgets."""
        return self.root / "data"

    @property
    def records(self) -> Path:
        """Which processes were started."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """A log of every service and of every command."""
        return self.root / "logs"

    @property
    def code(self) -> Path:
        """A copy of this package for the services to import."""
        return self.root / "code"

    @property
    def clouds_file(self) -> Path:
        """The clouds.yaml for clients."""
        return self.root / "clouds.yaml"

    @property
    def knobs_file(self) -> Path:
        """What a test may change while the cloud runs."""
        return self.root / "knobs.json"

    @property
    def database_socket(self) -> Path:
        """Where MariaDB listens."""
        return self.root / "run" / "mariadb.sock"

    def port_of(self, service: str) -> int:
        """The TCP port of a service."""
        return self.port + SERVICES.index(service)

    def url(self, service: str) -> str:
        """The root of a service's API."""
        path = "/v3" if service.startswith("keystone") else ""
        return f"http://{HOST}:{self.port_of(service)}{path}"

    def database(self, name: str) -> str:
        """The URL of a database."""
        return (
            f"mysql+pymysql://root@localhost/{name}"
            f"?unix_socket={self.database_socket}&charset=utf8mb4"
        )

    def is_done(self, step: str) -> bool:
        """Whether a step that need not be repeated was finished."""
        return (self.data / f"done-{step}").exists()

    def mark_done(self, step: str) -> None:
        """Have it known that a step was finished."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / f"done-{step}").touch()

    def environment(self, **more: str) -> dict[str, str]:
        """The process environment of everything that runs here.

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
