"""The driver of the fake cloud, which is a SQLite database."""

import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from random import SystemRandom

from poolmgr.drivers.base import Device, Driver, FloatingIP, Limits
from poolmgr.drivers.fake.database import (
    TABLES,
    UNIQUE,
    choose_address,
    device_of,
    dump_mark,
    ip_of,
    select_rows,
)
from poolmgr.drivers.fake.settings import FakeSettings
from poolmgr.errors import Changed, CloudRefused, CloudUnavailable, ConfigError
from poolmgr.ownership import Mark

# Held while SQLite works. A fork waits for it; otherwise SQLite's own locks
# could stay locked in the child.
_SQLITE = threading.Lock()
os.register_at_fork(
    before=_SQLITE.acquire,
    after_in_parent=_SQLITE.release,
    after_in_child=_SQLITE.release,
)


class FakeCloud(Driver):
    """A cloud in a database.

    :raises ConfigError: the state file cannot be used
    """

    Settings = FakeSettings

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = cfg = settings or FakeSettings()
        self.image = cfg.image
        # A poll that comes late must not make a short boot much longer.
        interval = min(1.0, max(0.02, cfg.boot_time / 20))
        self.limits = Limits(calls_at_once=32, poll_interval=interval)
        path = cfg.state or ":memory:"
        try:
            with _SQLITE:
                self._db = sqlite3.connect(
                    path,
                    timeout=30.0,
                    # _call() begins transactions. sqlite3's own BEGIN takes no
                    # lock, so a write could fail as "locked" in spite of the
                    # timeout.
                    isolation_level=None,
                    # _SQLITE lets the threads take turns.
                    check_same_thread=False,
                )
                # Many programs do not close a fake cloud. At the end of the
                # process a thread may still be using it.
                weakref.finalize(self, self._db.close).atexit = False
                self._db.executescript(TABLES)
        except sqlite3.Error as error:
            raise ConfigError(
                f"[fake] state: cannot use {path!r} as a database: {error}"
            ) from error

    def close(self) -> None:
        """Close the database; a state in memory is lost."""
        with _SQLITE:
            self._db.close()

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        cfg = self._settings
        spread = SystemRandom().uniform(-cfg.boot_spread, cfg.boot_spread)
        fails = SystemRandom().random() < cfg.boot_failure_rate
        fault = "the fake cloud let it fail" if fails else None
        id_, now = str(uuid.uuid4()), time.time()
        ready = now + max(0.0, cfg.boot_time + spread)
        with self._call(timeout) as db:
            address = choose_address(
                db, "device", cfg.device_quota, cfg.device_range
            )
            row = (id_, name, address, now, ready, fault, dump_mark(mark))
            db.execute("INSERT INTO device VALUES (?,?,?,?,?,?,?)", row)
        return device_of(row)

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        return self._read_devices(timeout)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        return self._read_devices(timeout, "name", names)

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_jobs`."""
        return self._read_devices(timeout, UNIQUE, uniques)

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._call(timeout) as db:
            present = _find_device(db, device)
            if present is None:
                raise CloudRefused(f"device {device.name!r} is gone")
            merged = mark.written_over(present.mark, device.mark)
            change = "UPDATE device SET mark = ? WHERE id = ?"
            db.execute(change, (dump_mark(merged), device.id))

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        with self._call(timeout) as db:
            # As in Neutron, a floating IP outlives its device.
            db.execute(
                "UPDATE ip SET device_id = NULL, revision = revision + 1 "
                "WHERE device_id = ?",
                (device.id,),
            )
            delete = "DELETE FROM device WHERE id = ?"
            return db.execute(delete, (device.id,)).rowcount == 1

    # -- floating IPs -------------------------------------------------------

    def create_ip(self, mark: Mark | None, timeout: float) -> FloatingIP:
        """See :meth:`Driver.create_ip`."""
        cfg = self._settings
        with self._call(timeout) as db:
            address = choose_address(db, "ip", cfg.ip_quota, cfg.ip_range)
            row = (str(uuid.uuid4()), address, None, 1, dump_mark(mark))
            db.execute("INSERT INTO ip VALUES (?,?,?,?,?)", row)
        return ip_of(row)

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        return self._read_ips(timeout)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        return self._read_ips(timeout, "address", addresses)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`."""
        return self._read_ips(timeout, UNIQUE, uniques)

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._call(timeout) as db:
            _change(db, ip, ip.device_id, mark)

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._call(timeout) as db:
            present = _find_device(db, device)
            if present is None or present.status != "active":
                raise CloudRefused(f"device {device.name!r} is not active")
            try:
                _change(db, ip, device.id, ip.mark)
            except sqlite3.IntegrityError:
                raise CloudRefused(
                    f"device {device.name!r} has another floating IP"
                ) from None

    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """See :meth:`Driver.detach_ip`."""
        with self._call(timeout) as db:
            _change(db, ip, None, ip.mark)

    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """See :meth:`Driver.delete_ip`."""
        with self._call(timeout) as db:
            delete = "DELETE FROM ip WHERE id = ?"
            return db.execute(delete, (ip.id,)).rowcount == 1

    def accepts(self, address: str, port: int, timeout: float) -> bool:
        """See :meth:`Driver.accepts`; sends no packet."""
        found = self.find_ips([address], timeout)
        attached = any(ip.device_id is not None for ip in found)
        return attached and port != self._settings.closed_port

    # -- inside -------------------------------------------------------------

    def _read_devices(
        self, timeout: float, column: str = "", values: Collection[str] = ()
    ) -> list[Device]:
        with self._call(timeout) as db:
            rows = select_rows(db, "device", column, values)
            return [device_of(row) for row in rows]

    def _read_ips(
        self, timeout: float, column: str = "", values: Collection[str] = ()
    ) -> list[FloatingIP]:
        with self._call(timeout) as db:
            rows = select_rows(db, "ip", column, values)
            return [ip_of(row) for row in rows]

    @contextmanager
    def _call(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """Simulate a call of the cloud, and begin a transaction."""
        self.limiter.acquire()
        cfg = self._settings
        # Without the lock, so that calls overlap as in a real cloud.
        time.sleep(min(cfg.call_time, timeout))
        if cfg.call_time > timeout:
            raise CloudUnavailable(f"no answer within {timeout:g} s")
        if SystemRandom().random() < cfg.call_failure_rate:
            raise CloudUnavailable("the fake cloud let the call fail")
        try:
            with _SQLITE, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
        # Raised by sqlite3 for a closed database.
        except sqlite3.ProgrammingError:
            raise CloudRefused("the fake cloud is closed") from None
        except sqlite3.Error as error:
            why = f"the fake cloud's state: {error}"
            raise CloudUnavailable(why) from error


def _find_device(db: sqlite3.Connection, device: Device) -> Device | None:
    """Return the current state of a device, or None."""
    select = "SELECT * FROM device WHERE id = ?"
    row = db.execute(select, (device.id,)).fetchone()
    return device_of(row) if row else None


def _change(
    db: sqlite3.Connection,
    ip: FloatingIP,
    device_id: str | None,
    mark: Mark | None,
) -> None:
    changed = db.execute(
        "UPDATE ip SET device_id = ?, mark = ?, revision = revision + 1 "
        "WHERE id = ? AND revision = ?",
        (device_id, dump_mark(mark), ip.id, ip.revision),
    )
    if changed.rowcount != 1:
        raise Changed(f"floating IP {ip.address!r} was changed meanwhile")
