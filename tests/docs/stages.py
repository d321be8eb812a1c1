"""What the commands of the pages find."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime

from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Mark
from tests.batches import BUILD, running, submit
from tests.docs.stage import Stage
from tests.jobservers import builtin, free_port
from tests.polling import until

HOUR, DAY = 3600.0, 86400.0
TIMEOUT = 10.0


def prepare_anything(stage: Stage) -> None:
    """A cloud and a job server."""
    stage.cloud()
    stage.job_server()


def prepare_start(stage: Stage) -> None:
    """A machine with a job server, and without a configuration."""
    stage.job_server()


def prepare_commands(stage: Stage) -> None:
    """A slow fake cloud; one of two job servers is up."""
    stage.fake(boot_time=2)
    _worker, server = stage.working()
    stage.use(server, f"127.0.0.1:{free_port()}")
    stage.numbers_differ = True


def prepare_inventory(stage: Stage) -> None:
    """A fake cloud with devices of all ages."""
    state = str(stage.folder / "cloud.db")
    stage.fake(state=state)
    stage.job_server()
    with closing(FakeCloud(FakeSettings(state=state))) as cloud:
        made = {
            name: cloud.create_device(name, mark, TIMEOUT)
            for name, _age, _boots, mark in DEVICES
        }
        for age, name in IPS:
            ip = cloud.create_ip(marked("job", age).handed_over(), TIMEOUT)
            if name:
                cloud.attach_ip(ip, made[name], TIMEOUT)
    with closing(sqlite3.connect(state)) as database, database:
        older = "UPDATE device SET created = ?, ready = ? WHERE name = ?"
        for name, age, boots, _mark in DEVICES:
            created = time.time() - age
            ready = created + (DAY if boots else 0)
            database.execute(older, (created, ready, name))


def marked(unique: str, age: float, handle: str = "") -> Mark:
    """Return the mark of a job that was done some seconds ago."""
    created = datetime.fromtimestamp(time.time() - age, UTC)
    return Mark("libra", unique, handle, created.isoformat(timespec="seconds"))


ATTACHED = "libra-5a0bb6c5-4ef6-4b06-9f3d-1d0c4c1ddaf3"
HANDED_OVER = marked("a0c1d7e2", 5 * DAY, "H:lb1:71").handed_over()
NEW = marked("b7e44c19", 192.0)
#: Name, age, whether it still boots, and mark.
DEVICES = (
    ("billing-db", 200 * DAY, False, None),
    ("libra-eaf1fef0-1584-11e3-b42b-02163e192df9", 40 * DAY, False, None),
    (ATTACHED, 5 * DAY + 2 * HOUR + 60, False, HANDED_OVER),
    ("libra-0c7d9a52-94a5-4bd0-8b43-7f1b2f4f8d10", 192.0, True, NEW),
)
#: Age, and the device it is attached to.
IPS = ((5 * DAY + HOUR + 60, ATTACHED), (3 * HOUR, ""))


def prepare_migration(stage: Stage) -> None:
    """A libra.cfg, and no configuration of poolmgr."""
    server, cloud = stage.job_server(), stage.cloud()
    (stage.folder / "poolmgr.conf").unlink()
    credentials = cloud.credentials
    text = (
        "[mgm]\naz = 1\nthreads = 20\nrm_fip_ignore_500 = true\n"
        f"nova_auth_url = {credentials['auth_url']}\n"
        f"nova_user = {credentials['username']}\n"
        f"nova_pass = {credentials['password']}\n"
        f"nova_tenant = {credentials['project_name']}\n"
        "nova_region = RegionOne\nnova_image = tiny\n"
        "nova_image_size = m1.nano\n"
        f"nova_net_id = {cloud.ids['private']}\n"
        f"[gearman]\nservers = {server.address}\n"
    )
    stage.names["/etc/libra.cfg"] = str(stage.write("libra.cfg", text))
    stage.names["/etc/poolmgr"] = str(stage.folder)


def prepare_scaling(stage: Stage) -> None:
    """Two job servers and two workers, with builds for all."""
    servers = [stage.stack.enter_context(builtin()).address for _ in range(2)]
    for number, server in enumerate(servers, 1):
        stage.names[f"gearman-{number}.example.com:4730"] = str(server)
    stage.use(*servers)
    stage.fake("[worker]\nlong_jobs = 4\n", boot_time=3600)
    for _worker in range(2):
        process = stage.worker()
        process.wait_for("registered")
    for server in servers:
        submit(server, *[BUILD] * 10)
    until(lambda: sum(map(running, servers)) == 20)
    # The distribution of the builds is random.
    stage.numbers_differ = True


def prepare_orphans(stage: Stage) -> None:
    """The same; the device that is building is older than any job."""
    prepare_inventory(stage)
    state = stage.variables["OS_FAKE__STATE"]
    with closing(sqlite3.connect(state)) as database, database:
        older = "UPDATE device SET created = created - ? WHERE ready > ?"
        database.execute(older, (2 * HOUR, time.time()))


def prepare_worker(stage: Stage) -> None:
    """A cloud and a job server at its usual address."""
    stage.cloud()
    stage.names["localhost:4730"] = str(stage.job_server().address)


#: By page name; other pages have anything.
PREPARED: Mapping[str, Callable[[Stage], None]] = {
    "commands.rst": prepare_commands,
    "inventory.rst": prepare_inventory,
    "migration.rst": prepare_migration,
    "reaper.rst": prepare_orphans,
    "scaling.rst": prepare_scaling,
    "start.rst": prepare_start,
    "worker.rst": prepare_worker,
}
