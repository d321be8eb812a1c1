"""Stages for pages with their own starting point."""

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Mark
from tests.batches import running, submit
from tests.docs.stage import Stage
from tests.jobservers import builtin, free_port
from tests.polling import until
from tests.processes import worker

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Commands(Stage):
    """A slow fake cloud; one of two job servers is up."""

    on_terminal = True

    def prepare(self) -> None:
        """See :class:`Stage`."""
        self.variables["OS_POOLMGR__DRIVER"] = "fake"
        self.variables["OS_FAKE__BOOT_TIME"] = "2"
        present, absent = str(self.server.address), f"127.0.0.1:{free_port()}"
        self.variables["OS_GEARMAN__SERVERS"] = f"{present},{absent}"
        self.bind("gearman-1.example.com:4730", present)
        self.bind("gearman-2.example.com:4730", absent)
        process = self.stack.enter_context(worker([present]))
        process.wait_for("registered")


class Inventory(Stage):
    """A fake cloud with devices of all ages."""

    def prepare(self) -> None:
        """See :class:`Stage`."""
        state = self.home / "cloud.db"
        self.variables["OS_POOLMGR__DRIVER"] = "fake"
        self.variables["OS_FAKE__STATE"] = str(state)
        FakeCloud(FakeSettings(state=str(state))).close()
        database = sqlite3.connect(state, isolation_level=None)
        for number, (name, age, boots, mark) in enumerate(_DEVICES):
            created = time.time() - age
            ready = created + (DAY if boots else 0)
            id_, address = str(uuid.UUID(int=number)), f"10.0.0.{number}"
            row = (id_, name, address, created, ready, None, _dump(mark))
            database.execute("INSERT INTO device VALUES (?,?,?,?,?,?,?)", row)
        for number, (age, on) in enumerate(_IPS, 1):
            mark = _mark("job", age).handed_over()
            id_, address = str(uuid.UUID(int=number)), f"198.18.0.{number}"
            values = id_, address, on, 1, _dump(mark)
            database.execute("INSERT INTO ip VALUES (?,?,?,?,?)", values)
        database.close()


class Orphans(Inventory):
    """The same; the device that is building is older than any job."""

    def prepare(self) -> None:
        """See :class:`Stage`."""
        super().prepare()
        state = self.variables["OS_FAKE__STATE"]
        with closing(sqlite3.connect(state)) as database, database:
            older = "UPDATE device SET created = created - ? WHERE ready > ?"
            database.execute(older, (2 * HOUR, time.time()))


def _dump(mark: Mark | None) -> str:
    return json.dumps(mark and vars(mark))


def _mark(unique: str, age: float, handle: str = "") -> Mark:
    created = datetime.fromtimestamp(time.time() - age, UTC)
    return Mark("libra", unique, handle, created.isoformat(timespec="seconds"))


#: Name, age, whether it still boots, and mark. Its index is its address.
_DEVICES = (
    ("billing-db", 200 * DAY + MINUTE, False, None),
    (
        "libra-5a0bb6c5-4ef6-4b06-9f3d-1d0c4c1ddaf3",
        5 * DAY + 2 * HOUR + MINUTE,
        False,
        _mark("a0c1d7e2", 5 * DAY, "H:lb1:71").handed_over(),
    ),
    ("libra-eaf1fef0-1584-11e3-b42b-02163e192df9", 40 * DAY, False, None),
    (
        "libra-0c7d9a52-94a5-4bd0-8b43-7f1b2f4f8d10",
        192.0,
        True,
        _mark("b7e44c19", 192.0),
    ),
)
#: The device with a floating IP; a device's id is its index.
_ON = str(uuid.UUID(int=1))
#: Age, and the device it is attached to.
_IPS = ((5 * DAY + HOUR + MINUTE, _ON), (200.5 * MINUTE, None))


class Migration(Stage):
    """A libra.cfg, and no configuration of poolmgr."""

    def prepare(self) -> None:
        """See :class:`Stage`."""
        credentials = self.cloud.credentials
        self.write(
            self.at_root("/etc/libra.cfg"),
            "[mgm]\naz = 1\nthreads = 20\nrm_fip_ignore_500 = true\n"
            f"nova_auth_url = {credentials['auth_url']}\n"
            f"nova_user = {credentials['username']}\n"
            f"nova_pass = {credentials['password']}\n"
            f"nova_tenant = {credentials['project_name']}\n"
            "nova_region = RegionOne\nnova_image = tiny\n"
            "nova_image_size = m1.nano\n"
            f"nova_net_id = {self.cloud.ids['private']}\n"
            f"[gearman]\nservers = {self.server.address}\n",
        )
        self.at_root("/etc/poolmgr").mkdir()
        (self.home / ".poolmgr").symlink_to(self.at_root("/etc/poolmgr"))


class Start(Stage):
    """A machine without a configuration."""

    def prepare(self) -> None:
        """See :class:`Stage`."""


class Worker(Stage):
    """A cloud and a job server at its usual address."""

    def prepare(self) -> None:
        """See :class:`Stage`."""
        super().prepare()
        self.bind("localhost:4730", str(self.server.address))


class Scaling(Stage):
    """Two job servers and two workers, with builds for all."""

    #: The distribution of the builds is random.
    numbers_differ = True

    def prepare(self) -> None:
        """See :class:`Stage`."""
        second = self.stack.enter_context(builtin())
        servers = [self.server.address, second.address]
        names = [str(server) for server in servers]
        self.variables["OS_GEARMAN__SERVERS"] = ",".join(names)
        for number, name in enumerate(names, 1):
            self.bind(f"gearman-{number}.example.com:4730", name)
        config = "[worker]\nlong_jobs = 4\n[fake]\nboot_time = 3600\n"
        for name in ("one", "two"):
            folder = self.home / name
            folder.mkdir()
            process = self.stack.enter_context(worker(names, config, folder))
            for _server in servers:
                process.wait_for("registered")
        for server in servers:
            submit(server, *[{"action": "BUILD_DEVICE"}] * 10)
        until(lambda: sum(map(running, servers)) == 20)


#: By page name; other pages use :class:`Stage`.
STAGES: Mapping[str, type[Stage]] = {
    "commands.rst": Commands,
    "inventory.rst": Inventory,
    "migration.rst": Migration,
    "reaper.rst": Orphans,
    "scaling.rst": Scaling,
    "start.rst": Start,
    "worker.rst": Worker,
}


def stage_of(page: Path, folder: Path, stack: ExitStack) -> Stage:
    """Return the stage of a page."""
    return STAGES.get(page.name, Stage)(folder, stack)
