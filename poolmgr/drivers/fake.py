"""A cloud that is not there, for demonstrations, tests and first steps.

It keeps the whole contract of a driver.  Its state is a SQLite database: in
memory, or in a file that several processes can use at once.
"""

import ipaddress
import json
import random
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from poolmgr.drivers.base import (
    Device,
    Driver,
    DriverState,
    FloatingIP,
    Status,
)
from poolmgr.drivers.watch import Watch
from poolmgr.errors import (
    Changed,
    CloudRefused,
    CloudUnavailable,
    ConfigError,
    QuotaExceeded,
)
from poolmgr.identity import Mark
from poolmgr.settings import check, setting
from poolmgr.waiting import Deadline

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE device (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL UNIQUE,
    created REAL NOT NULL, ready REAL NOT NULL, fault TEXT,
    mark TEXT, job TEXT
);
CREATE INDEX device_name ON device (name);
CREATE INDEX device_job ON device (job);
CREATE TABLE ip (
    id TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE,
    device_id TEXT UNIQUE REFERENCES device (id) ON DELETE SET NULL,
    revision INTEGER NOT NULL DEFAULT 1, mark TEXT, job TEXT
);
CREATE INDEX ip_job ON ip (job);
CREATE TABLE next_address (range TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""
# Counting the rows of a table costs as much as reading them all.
_COUNTER = """
CREATE TABLE {table}_count (number INTEGER NOT NULL);
INSERT INTO {table}_count VALUES (0);
CREATE TRIGGER {table}_made AFTER INSERT ON {table} BEGIN
    UPDATE {table}_count SET number = number + 1;
END;
CREATE TRIGGER {table}_gone AFTER DELETE ON {table} BEGIN
    UPDATE {table}_count SET number = number - 1;
END;
"""
_DEVICE = "SELECT id, name, address, created, ready, fault, mark FROM device"
_IP = "SELECT id, address, device_id, revision, mark FROM ip"


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(
            f"must be a range of IPv4 addresses like 10.0.0.0/16, not {text!r}"
        ) from None


@dataclass(frozen=True)
class FakeSettings:
    """Settings of the fake cloud: the group ``[fake]``."""

    state: str | None = setting(
        None,
        "File that keeps the fake cloud's devices and floating IPs, so that "
        "one command sees what another made. Unset: they are kept in memory "
        "and end with the process.",
    )
    image: str = setting("fake-image", "Image that devices are made from.")
    boot_time: float = setting(
        0.0, "Seconds that a device takes to boot.", min=0, max=86400
    )
    boot_spread: float = setting(
        0.0,
        "Seconds by which the boot time may be longer or shorter, at random.",
        min=0,
        max=86400,
    )
    call_time: float = setting(
        0.0, "Seconds that each call of the cloud takes.", min=0, max=3600
    )
    boot_failure_rate: float = setting(
        0.0, "Part of the devices that fail to boot, 0 to 1.", min=0, max=1
    )
    call_failure_rate: float = setting(
        0.0, "Part of the calls that fail, 0 to 1.", min=0, max=1
    )
    device_quota: int = setting(
        10000, "Most devices there can be.", min=0, max=1000000
    )
    ip_quota: int = setting(
        10000, "Most floating IPs there can be.", min=0, max=1000000
    )
    device_range: str = setting(
        "10.0.0.0/16", "Addresses that devices get.", check=_network
    )
    ip_range: str = setting(
        "198.18.0.0/16", "Addresses of the floating IPs.", check=_network
    )
    closed_port: int | None = setting(
        None,
        "TCP port that nothing listens on; on all others every attached "
        "floating IP accepts connections.",
        min=1,
        max=65535,
    )

    def __post_init__(self) -> None:
        check(self, "fake")


class FakeCloud(Driver):
    """Devices and floating IPs in a table instead of a cloud."""

    Settings = FakeSettings

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = settings or FakeSettings()
        self.image = self._settings.image
        self._lock = threading.Lock()
        self._db = _open(self._settings.state)
        # Many will not bother to close a cloud that is not there.
        self._close_db = weakref.finalize(self, self._db.close)
        # Often enough that a short boot is not made longer by the watch.
        interval = min(1.0, max(0.02, self._settings.boot_time / 20))
        self._watch = Watch(self._look, interval)

    @property
    def state(self) -> DriverState:
        """See :attr:`Driver.state`."""
        return DriverState({}, self._watch.waiting, self._watch.age)

    def close(self) -> None:
        """Forget everything that is kept in memory."""
        self._watch.close()
        with self._lock:
            self._close_db()

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark | None, deadline: Deadline
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        cfg = self._settings
        spread = random.uniform(-cfg.boot_spread, cfg.boot_spread)
        fails = random.random() < cfg.boot_failure_rate
        now = time.time()
        with self._call(deadline) as db:
            _within("device", cfg.device_quota, db)
            address = _free("device", _network(cfg.device_range), db)
            row = (
                str(uuid.uuid4()),
                name,
                address,
                now,
                now + max(0.0, cfg.boot_time + spread),
                "the fake cloud let it fail" if fails else None,
                *_mark_columns(mark),
            )
            db.execute("INSERT INTO device VALUES (?,?,?,?,?,?,?,?)", row)
        return _device(row[:7])

    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        """See :meth:`Driver.wait_for_device`."""
        return self._watch.wait(device, deadline)

    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        with self._call(deadline) as db:
            return [_device(row) for row in db.execute(_DEVICE)]

    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        return self._devices("name = ?", name, deadline)

    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_job`."""
        return self._devices("job = ?", unique, deadline)

    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._call(deadline) as db:
            row = db.execute(f"{_DEVICE} WHERE id = ?", (device.id,))
            there = row.fetchone()
            if there is None:
                raise CloudRefused(f"device {device.name!r} is gone")
            now = mark.written_over(_device(there).mark, device.mark)
            db.execute(
                "UPDATE device SET mark = ?, job = ? WHERE id = ?",
                (*_mark_columns(now), device.id),
            )

    def delete_device(self, device: Device, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_device`."""
        with self._call(deadline) as db:
            db.execute(
                "UPDATE ip SET device_id = NULL, revision = revision + 1 "
                "WHERE device_id = ?",
                (device.id,),
            )
            db.execute("DELETE FROM device WHERE id = ?", (device.id,))

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark | None, deadline: Deadline) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        with self._call(deadline) as db:
            _within("ip", self._settings.ip_quota, db)
            address = _free("ip", _network(self._settings.ip_range), db)
            id_, marks = str(uuid.uuid4()), _mark_columns(mark)
            db.execute(
                "INSERT INTO ip (id, address, mark, job) VALUES (?,?,?,?)",
                (id_, address, *marks),
            )
        return _ip((id_, address, None, 1, marks[0]))

    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        with self._call(deadline) as db:
            return [_ip(row) for row in db.execute(_IP)]

    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        """See :meth:`Driver.find_ip`."""
        found = self._ips("address = ?", address, deadline)
        return found[0] if found else None

    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_job`."""
        return self._ips("job = ?", unique, deadline)

    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        """See :meth:`Driver.device_of_ip`."""
        if ip.device_id is None:
            return None
        found = self._devices("id = ?", ip.device_id, deadline)
        return found[0] if found else None

    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._call(deadline) as db:
            changed = db.execute(
                "UPDATE ip SET mark = ?, job = ?, revision = revision + 1 "
                "WHERE id = ? AND revision = ?",
                (*_mark_columns(mark), ip.id, ip.revision),
            )
            _require_change(changed, ip)

    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._call(deadline) as db:
            row = db.execute(f"{_DEVICE} WHERE id = ?", (device.id,))
            there = row.fetchone()
            if there is None or _device(there).status != "active":
                raise CloudRefused(f"device {device.name!r} is not active")
            taken = db.execute(
                "SELECT address FROM ip WHERE device_id = ? AND id != ?",
                (device.id, ip.id),
            ).fetchone()
            if taken:
                raise CloudRefused(
                    f"device {device.name!r} has floating IP {taken[0]!r}"
                )
            self._set_device(ip, device.id, db)

    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.detach_ip`."""
        with self._call(deadline) as db:
            self._set_device(ip, None, db)

    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """See :meth:`Driver.delete_ip`."""
        with self._call(deadline) as db:
            db.execute("DELETE FROM ip WHERE id = ?", (ip.id,))

    def accepts(self, address: str, port: int, deadline: Deadline) -> bool:
        """See :meth:`Driver.accepts`; no packet leaves the process."""
        ip = self.find_ip(address, deadline)
        attached = ip is not None and ip.device_id is not None
        return attached and port != self._settings.closed_port

    # -- inside -------------------------------------------------------------

    @contextmanager
    def _call(self, deadline: Deadline) -> Iterator[sqlite3.Connection]:
        """One call of the cloud: takes its time, may fail, is atomic."""
        deadline.check("calling the fake cloud")
        if self._settings.call_time:
            deadline.sleep(self._settings.call_time, "calling the fake cloud")
        if random.random() < self._settings.call_failure_rate:
            raise CloudUnavailable("the fake cloud let the call fail")
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                with self._db:
                    yield self._db
        except sqlite3.Error as error:
            raise CloudUnavailable(f"the fake cloud's state: {error}") from (
                error
            )

    def _look(self, devices: Collection[Device]) -> list[Device]:
        ids = json.dumps([device.id for device in devices])
        with self._call(Deadline(60.0)) as db:
            found = db.execute(
                f"{_DEVICE} WHERE id IN (SELECT value FROM json_each(?))",
                (ids,),
            )
            return [_device(row) for row in found]

    def _devices(
        self, where: str, value: str, deadline: Deadline
    ) -> list[Device]:
        with self._call(deadline) as db:
            found = db.execute(f"{_DEVICE} WHERE {where}", (value,))
            return [_device(row) for row in found]

    def _ips(
        self, where: str, value: str, deadline: Deadline
    ) -> list[FloatingIP]:
        with self._call(deadline) as db:
            found = db.execute(f"{_IP} WHERE {where}", (value,))
            return [_ip(row) for row in found]

    def _set_device(
        self, ip: FloatingIP, device_id: str | None, db: sqlite3.Connection
    ) -> None:
        changed = db.execute(
            "UPDATE ip SET device_id = ?, revision = revision + 1 "
            "WHERE id = ? AND revision = ?",
            (device_id, ip.id, ip.revision),
        )
        _require_change(changed, ip)


def _open(path: str | None) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            path or ":memory:",
            timeout=30.0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(path, db)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise ConfigError(
            f"[fake] state: cannot use {path!r} as a database: {error}"
        ) from error
    return db


def _prepare(path: str | None, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA journal_mode = WAL")
    # A power cut may cost the fake cloud its last devices.
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN IMMEDIATE")
    with db:
        _create_tables(path, db)


def _create_tables(path: str | None, db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == _SCHEMA_VERSION:
        return
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version or tables != (0,):
        raise ConfigError(
            f"[fake] state: {path!r} is not a state of this version; "
            "remove it or name another file"
        )
    counters = "".join(_COUNTER.format(table=t) for t in ("device", "ip"))
    # Not executescript(): it would commit the transaction first.
    for statement in _statements(_SCHEMA + counters):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _within(table: str, quota: int, db: sqlite3.Connection) -> None:
    (count,) = db.execute(f"SELECT number FROM {table}_count").fetchone()
    if count >= quota:
        what = {"device": "devices", "ip": "floating IPs"}[table]
        raise QuotaExceeded(f"quota of {quota} {what} is used up")


def _free(
    table: str, network: ipaddress.IPv4Network, db: sqlite3.Connection
) -> str:
    """The next address of a range that nothing has, in turn."""
    edge = 1 if network.prefixlen < 31 else 0
    size = network.num_addresses - 2 * edge
    row = db.execute(
        "SELECT number FROM next_address WHERE range = ?", (str(network),)
    ).fetchone()
    start = row[0] if row else 0
    for number in range(start, start + size):
        address = str(network[edge + number % size])
        taken = db.execute(
            f"SELECT 1 FROM {table} WHERE address = ?",
            (address,),
        )
        if taken.fetchone() is None:
            db.execute(
                "INSERT OR REPLACE INTO next_address VALUES (?, ?)",
                (str(network), (number + 1) % size),
            )
            return address
    raise QuotaExceeded(f"no address of {network} is left")


def _require_change(changed: sqlite3.Cursor, ip: FloatingIP) -> None:
    if not changed.rowcount:
        raise Changed(f"floating IP {ip.address!r} was changed meanwhile")


def _mark_columns(mark: Mark | None) -> tuple[str | None, str | None]:
    if mark is None:
        return None, None
    return json.dumps(vars(mark)), mark.unique


def _mark(text: str | None) -> Mark | None:
    return None if text is None else Mark(**json.loads(text))


def _device(row: tuple[object, ...]) -> Device:
    id_, name, address, created, ready, fault, mark = row
    status: Status = "building"
    if time.time() >= float(ready):  # type: ignore[arg-type]
        status = "failed" if fault else "active"
    at = datetime.fromtimestamp(float(created), UTC)  # type: ignore[arg-type]
    return Device(
        id=str(id_),
        name=str(name),
        status=status,
        address=str(address) if status == "active" else None,
        created=at.isoformat(timespec="seconds"),
        fault=str(fault) if status == "failed" else None,
        mark=_mark(mark if mark is None else str(mark)),
    )


def _ip(row: tuple[str, str, str | None, int, str | None]) -> FloatingIP:
    id_, address, device_id, revision, mark = row
    of = _mark(mark)
    made = of.made if of else None
    return FloatingIP(id_, address, device_id, revision, of, made)
