"""MariaDB and its tables."""

import os
import shutil
from pathlib import Path

from testcloud.commands import run, say, together
from testcloud.configuration import DATABASES, PASSWORD
from testcloud.location import Location
from testcloud.processes import Daemons

ML2 = "plugins/ml2/ml2_conf.ini"
# A test database need not survive a power cut. With "loose", versions of
# MariaDB ignore options that they do not know.
FAST = (
    "--loose-innodb-flush-log-at-trx-commit=0",
    "--loose-innodb-flush-method=nosync",
    "--loose-innodb-doublewrite=0",
    "--loose-innodb-log-file-size=64M",
    "--loose-innodb-buffer-pool-size=256M",
    "--skip-log-bin",
    "--loose-performance-schema=0",
)


def start(location: Location, daemons: Daemons) -> None:
    """Start MariaDB on a Unix socket and wait until it listens."""
    folder = location.data / "mariadb"
    socket = location.database_socket
    # By default it refuses to run as root.
    user = ["--user=root"] if os.geteuid() == 0 else []
    if not location.is_done("mariadb"):
        shutil.rmtree(folder, ignore_errors=True)
        run(
            *("mariadb-install-db", "--no-defaults", f"--datadir={folder}"),
            *("--auth-root-authentication-method=normal", *user),
            "--skip-test-db",
            log=location.logs / "mariadb-install.log",
            env=location.environment(),
        )
        location.mark_done("mariadb")
    if not daemons.alive("mariadb"):
        socket.unlink(missing_ok=True)
    command = ["mariadbd", "--no-defaults", f"--datadir={folder}", *user]
    command += [f"--socket={socket}", "--skip-networking", *FAST]
    command += [f"--pid-file={location.records / 'mariadb.pid'}"]
    command += ["--max-connections=500", "--character-set-server=utf8mb3"]
    daemons.start("mariadb", command)
    daemons.wait_for_file("mariadb", socket)


class Schemas:
    """The services' tables and first rows, created by their own tools."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def keystone(self) -> None:
        """Create Keystone's tables, keys, administrator and endpoint."""
        if self._location.is_done("keystone"):
            return
        self._create("keystone")
        manage = "keystone-manage"
        etc = f"--config-dir={self._location.etc / 'keystone'}"
        self._run(manage, etc, "db_sync")
        # root must name the owner of the keys.
        owner = ["--keystone-user=root", "--keystone-group=root"]
        owner = owner if os.geteuid() == 0 else []
        for keys in ("fernet_setup", "receipt_setup", "credential_setup"):
            self._run(manage, etc, keys, *owner)
        self._run(
            *(manage, etc, "bootstrap"),
            f"--bootstrap-password={PASSWORD}",
            "--bootstrap-region-id=RegionOne",
            f"--bootstrap-public-url={self._location.url('keystone')}",
            f"--bootstrap-internal-url={self._location.url('keystone')}",
        )
        self._location.mark_done("keystone")

    def others(self) -> None:
        """Create all other tables; half a minute on two cores."""
        if self._location.is_done("schemas"):
            return
        say("making tables")
        self._create(*(name for name in DATABASES if name != "keystone"))
        together(self._neutron, self._nova_placement_glance)
        self._location.mark_done("schemas")

    def _neutron(self) -> None:
        etc = self._location.etc / "neutron"
        self._run(
            *("neutron-db-manage", f"--config-file={etc / 'neutron.conf'}"),
            *(f"--config-file={etc / ML2}", "upgrade", "heads"),
        )

    def _nova_placement_glance(self) -> None:
        etc = self._location.etc
        nova = ["nova-manage", f"--config-file={etc / 'nova' / 'nova.conf'}"]
        database = self._location.database
        at = "--database_connection"
        self._run(*nova, "api_db", "sync")
        cells = [*nova, "cell_v2"]
        self._run(*cells, "map_cell0", at, database("nova_cell0"))
        self._run(*nova, "db", "sync")
        self._run(
            *(*cells, "create_cell", "--name=cell1", at, database("nova")),
            "--transport-url=fake://",
        )
        placement = f"--config-dir={etc / 'placement'}"
        self._run("placement-manage", placement, "db", "sync")
        glance = f"--config-dir={etc / 'glance'}"
        self._run("glance-manage", glance, "db_sync")

    def _create(self, *names: str) -> None:
        """Create databases; replace those of an interrupted run."""
        text = "".join(
            f"DROP DATABASE IF EXISTS {name};"
            f"CREATE DATABASE {name} CHARACTER SET utf8mb3;"
            for name in names
        )
        socket = f"--socket={self._location.database_socket}"
        client = ["mariadb", "--no-defaults", "--user=root", socket]
        self._run(*client, f"--execute={text}")

    def _run(self, program: str | Path, *args: str) -> None:
        log = self._location.logs / f"{program}.log"
        run(program, *args, log=log, env=self._location.environment())
