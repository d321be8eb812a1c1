"""Starting, stopping and inspecting the cloud."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from testcloud import configuration, database, packages, services
from testcloud.commands import TestcloudError, run, say, together
from testcloud.location import Location
from testcloud.processes import Daemons

APIS = tuple(services.APIS)
# The kernel's limit for the path of a Unix socket.
LONGEST_SOCKET = 107


def up(location: Location) -> int:
    """Start the cloud; keep everything that already runs or exists."""
    _check_length(location)
    with _locked(location):
        _check_port(location)
        packages.install(location)
        configuration.write(location)
        daemons = Daemons(location)
        services.start_memcached(location, daemons)
        database.start(location, daemons)
        schemas = database.Schemas(location)
        together(
            partial(_identity, location, daemons, schemas), schemas.others
        )
        _start_apis(location, daemons)
        if not location.is_done("resources"):
            _seed(location, "resources")
            location.mark_done("resources")
    say(f"up; clouds.yaml is {location.clouds_file}")
    return 0


def down(location: Location) -> int:
    """Stop all processes; keep their data."""
    with _locked(location):
        daemons = Daemons(location)
        # A service stops before the services it uses.
        last = ("mariadb", "memcached")
        first = [name for name in daemons.names() if name not in last]
        if first:
            together(*(partial(daemons.stop, name) for name in first))
        for name in daemons.names():
            daemons.stop(name)
    say("down")
    return 0


def reset(location: Location) -> int:
    """Delete all data except the installed packages, and start again."""
    down(location)
    for folder in (location.data, location.etc, location.code):
        shutil.rmtree(folder, ignore_errors=True)
    location.knobs_file.unlink(missing_ok=True)
    return up(location)


def status(location: Location) -> int:
    """Print which services run; return 0 if all do."""
    daemons = Daemons(location)
    total = 0.0
    for name in ("mariadb", "memcached", *APIS):
        memory = sum(map(_memory, daemons.pids(name)))
        total += memory
        if not daemons.alive(name):
            state = "does not run"
        elif name in APIS and not services.answers(location, name, 10.0):
            state = "does not answer"
        else:
            state = location.url(name) if name in APIS else "runs"
        print(f"{name:<16}{memory:6.0f} MiB   {state}")
    print(f"{'total':<16}{total:6.0f} MiB   {location.root}")
    return 0 if running(location) else 1


def running(location: Location | None = None) -> bool:
    """Return whether the cloud is up, seeded and answers."""
    location = location or Location.from_environment()
    return location.is_done("resources") and all(
        services.answers(location, name, 10.0) for name in APIS
    )


def _check_length(location: Location) -> None:
    if len(str(location.database_socket)) > LONGEST_SOCKET:
        raise TestcloudError(
            f"{location.root} is too long a name; set TESTCLOUD_DIR"
        )


def _check_port(location: Location) -> None:
    """Check that the ports are those in Keystone's catalog."""
    location.data.mkdir(exist_ok=True)
    file = location.data / "port"
    if not file.exists():
        file.write_text(str(location.port))
    if (port := file.read_text()) != str(location.port):
        raise TestcloudError(
            f"the cloud in {location.root} has the ports from {port} on; "
            f"set TESTCLOUD_PORT={port} or reset it"
        )


@contextmanager
def _locked(location: Location) -> Iterator[None]:
    """Lock the folder; create it for its owner only."""
    location.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    location.records.mkdir(exist_ok=True)
    location.logs.mkdir(exist_ok=True)
    with (location.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _identity(
    location: Location, daemons: Daemons, schemas: database.Schemas
) -> None:
    """Start Keystone with the accounts that the other services need."""
    schemas.keystone()
    for name in ("keystone", "keystone-short"):
        services.start(location, daemons, name)
    daemons.wait("keystone", lambda: services.answers(location, "keystone"))
    if not location.is_done("identity"):
        _seed(location, "identity")
        location.mark_done("identity")


def _start_apis(location: Location, daemons: Daemons) -> None:
    say("starting the services")
    for name in ("placement", "glance", "neutron"):
        services.start(location, daemons, name)
    # Nova's host reports to Placement during its start.
    for name in ("placement", "nova"):
        services.start(location, daemons, name)
        daemons.wait(name, partial(services.answers, location, name))
    for name in APIS:
        daemons.wait(name, partial(services.answers, location, name))


def _seed(location: Location, what: str) -> None:
    say(f"seeding: {what}")
    clouds = str(location.clouds_file)
    run(
        *(location.venv / "bin" / "python", "-m", "testcloud.seed", what),
        log=location.logs / "seed.log",
        env=location.environment(OS_CLIENT_CONFIG_FILE=clouds),
    )


def _memory(pid: int) -> float:
    """Return the proportional memory of a process in MiB."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            sizes = [line.split()[1] for line in file if line[:4] == "Pss:"]
    except OSError:
        return 0.0
    return sum(map(int, sizes)) / 1024
