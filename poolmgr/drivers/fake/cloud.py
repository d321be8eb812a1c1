"""The driver of the fake cloud."""

import itertools
import os
import random
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from poolmgr.drivers.base import Device, Driver, FloatingIP, Limits
from poolmgr.drivers.fake import database
from poolmgr.drivers.fake.database import UNIQUE, text_of
from poolmgr.drivers.fake.settings import FakeSettings, network_of
from poolmgr.errors import (
    Changed,
    CloudRefused,
    CloudUnavailable,
    QuotaExceeded,
)
from poolmgr.ownership import Mark

#: Threads that call it at once: a cloud of 20 ms serves 1,600 calls a second.
_AT_ONCE = 32
# Its own: a program may have seeded Python's.
_CHANCE = random.Random()
#: Held while SQLite works. A fork waits for it, or else SQLite's own locks
#: could be held by nobody in the child.
_SQLITE = threading.Lock()
os.register_at_fork(
    before=_SQLITE.acquire,
    after_in_parent=_SQLITE.release,
    after_in_child=_SQLITE.release,
)


class FakeCloud(Driver):
    """Devices and floating IPs in a database instead of a cloud.

    :raises ConfigError: its state cannot be kept in the file named
    """

    Settings = FakeSettings

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self._settings = cfg = settings or FakeSettings()
        self.image = cfg.image
        # Often enough that a short boot does not become longer by that.
        interval = min(1.0, max(0.02, cfg.boot_time / 20))
        self.limits = Limits(calls_at_once=_AT_ONCE, poll_interval=interval)
        self._device_room = _Room("device", cfg.device_quota, cfg.device_range)
        self._ip_room = _Room("ip", cfg.ip_quota, cfg.ip_range)
        with _SQLITE:
            self._db = database.open_database(cfg.state or ":memory:")
        # Many will not bother to close a cloud that is not there. At the end
        # of the process a thread may still be using it.
        weakref.finalize(self, self._db.close).atexit = False

    def close(self) -> None:
        """Forget everything that is kept in memory."""
        with _SQLITE:
            self._db.close()

    # -- devices ------------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        """See :meth:`Driver.create_device`."""
        cfg = self._settings
        spread = _CHANCE.uniform(-cfg.boot_spread, cfg.boot_spread)
        fails = _CHANCE.random() < cfg.boot_failure_rate
        fault = "the fake cloud let it fail" if fails else None
        id_, now = str(uuid.uuid4()), time.time()
        ready = now + max(0.0, cfg.boot_time + spread)
        with self._call(timeout) as db:
            address = self._device_room.take_address(db)
            row = (id_, name, address, now, ready, fault, text_of(mark))
            db.execute("INSERT INTO device VALUES (?,?,?,?,?,?,?)", row)
        return database.device_of(row)

    def list_devices(self, timeout: float) -> Sequence[Device]:
        """See :meth:`Driver.list_devices`."""
        with self._call(timeout) as db:
            return database.find_devices(db)

    def get_device(self, id: str, timeout: float) -> Device | None:
        """See :meth:`Driver.get_device`."""
        with self._call(timeout) as db:
            return next(iter(database.find_devices(db, "id", [id])), None)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.find_devices`."""
        with self._call(timeout) as db:
            return database.find_devices(db, "name", names)

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """See :meth:`Driver.devices_of_jobs`."""
        with self._call(timeout) as db:
            return database.find_devices(db, UNIQUE, uniques)

    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_device`."""
        with self._call(timeout) as db:
            present = database.find_devices(db, "id", [device.id])
            if not present:
                raise CloudRefused(f"device {device.name!r} is gone")
            now = mark.written_over(present[0].mark, device.mark)
            change = "UPDATE device SET mark = ? WHERE id = ?"
            db.execute(change, (text_of(now), device.id))

    def delete_device(self, device: Device, timeout: float) -> bool:
        """See :meth:`Driver.delete_device`."""
        with self._call(timeout) as db:
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
        with self._call(timeout) as db:
            address = self._ip_room.take_address(db)
            row = (str(uuid.uuid4()), address, None, 1, text_of(mark))
            db.execute("INSERT INTO ip VALUES (?,?,?,?,?)", row)
        return database.ip_of(row)

    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """See :meth:`Driver.list_ips`."""
        with self._call(timeout) as db:
            return database.find_ips(db)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.find_ips`."""
        with self._call(timeout) as db:
            return database.find_ips(db, "address", addresses)

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """See :meth:`Driver.ips_of_jobs`."""
        with self._call(timeout) as db:
            return database.find_ips(db, UNIQUE, uniques)

    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """See :meth:`Driver.mark_ip`."""
        with self._call(timeout) as db:
            _change(db, ip, ip.device_id, mark)

    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """See :meth:`Driver.attach_ip`."""
        with self._call(timeout) as db:
            present = database.find_devices(db, "id", [device.id])
            if not present or present[0].status != "active":
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
        """See :meth:`Driver.accepts`; no packet leaves the process."""
        found = self.find_ips([address], timeout)
        attached = any(ip.device_id is not None for ip in found)
        return attached and port != self._settings.closed_port

    @contextmanager
    def _call(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """Make one call of the cloud: it takes its time, and may fail.

        The block has the database for itself, and is done as a whole or not
        at all.
        """
        self.limiter.acquire()
        cfg = self._settings
        time.sleep(min(cfg.call_time, timeout))
        if cfg.call_time > timeout:
            raise CloudUnavailable(f"no answer within {timeout:g} s")
        if _CHANCE.random() < cfg.call_failure_rate:
            raise CloudUnavailable("the fake cloud let the call fail")
        try:
            with _SQLITE, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
        except sqlite3.ProgrammingError:
            raise CloudRefused("the fake cloud is closed") from None
        except sqlite3.Error as error:
            why = f"the fake cloud's state: {error}"
            raise CloudUnavailable(why) from error


class _Room:
    """The room for more in a table: a quota and a range of addresses."""

    def __init__(self, table: str, quota: int, addresses: str) -> None:
        self._table = table
        self._quota = quota
        self._network = network_of(addresses)
        # Used in turn; each process begins with the first.
        self._addresses = itertools.cycle(self._network.hosts())

    def take_address(self, db: sqlite3.Connection) -> str:
        """Return an address that is not used.

        :raises QuotaExceeded: there is no room
        """
        count = db.execute(f"SELECT count(*) FROM {self._table}")
        if count.fetchone()[0] >= self._quota:
            raise QuotaExceeded(
                f"quota of {self._quota} {self._table}s is used up"
            )
        used = f"SELECT 1 FROM {self._table} WHERE address = ?"
        tries = itertools.islice(self._addresses, self._network.num_addresses)
        for address in map(str, tries):
            if not db.execute(used, (address,)).fetchone():
                return address
        raise QuotaExceeded(f"no address of {self._network} is left")


def _change(
    db: sqlite3.Connection,
    ip: FloatingIP,
    device_id: str | None,
    mark: Mark | None,
) -> None:
    changed = db.execute(
        "UPDATE ip SET device_id = ?, mark = ?, revision = revision + 1 "
        "WHERE id = ? AND revision = ?",
        (device_id, text_of(mark), ip.id, ip.revision),
    )
    if changed.rowcount != 1:
        raise Changed(f"floating IP {ip.address!r} was changed meanwhile")
