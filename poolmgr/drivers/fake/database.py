"""What a fake cloud has, in SQLite: a file can serve several processes."""

import json
import math
import sqlite3
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from poolmgr.drivers.base import FloatingIP
from poolmgr.drivers.fake.schema import open_database
from poolmgr.errors import CloudUnavailable
from poolmgr.ownership import Mark
from poolmgr.text import decoded

_DEVICE = "SELECT id, name, address, created, ready, fault, mark FROM device"
_IP = "SELECT id, address, device_id, revision, mark FROM ip"


Table = Literal["device", "ip"]


@dataclass(frozen=True)
class StoredDevice:
    """A device as it is kept.

    :ivar created: when it was made, in seconds since the epoch
    :ivar ready: when it has booted, likewise
    :ivar fault: why it fails to boot then, None if it does not
    """

    id: str
    name: str
    address: str
    created: float
    ready: float
    fault: str | None
    mark: Mark | None


class Database:
    """Devices and floating IPs; called by one thread at a time.

    Each call is atomic, and so is all that is done in a transaction.

    :param path: a file, or ``:memory:``
    :raises ConfigError: the file cannot be used
    """

    def __init__(self, path: str) -> None:
        self._db = open_database(path)
        # Many will not bother to close a cloud that is not there.
        self._close = weakref.finalize(self, self._db.close)
        # At the end of the process a thread may still be using it.
        self._close.atexit = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Nobody else changes anything while the block runs.

        When it raises, what was changed in it is undone.
        """
        self._do("BEGIN IMMEDIATE")
        with _told(), self._db:
            yield

    def close(self) -> None:
        """Close the database; one in memory is gone then."""
        self._close()

    def count(self, table: Table) -> int:
        """How many there are."""
        found = self._do(f"SELECT number FROM {table}_count").fetchone()
        return int(found[0])

    def next_number(self, name: str) -> int:
        """The place in a range of addresses that is next; 0 at first."""
        row = self._do(
            "SELECT number FROM next_address WHERE range = ?", name
        ).fetchone()
        return int(row[0]) if row else 0

    def set_next_number(self, name: str, number: int) -> None:
        """Remember it."""
        self._do(
            "INSERT OR REPLACE INTO next_address VALUES (?, ?)", name, number
        )

    def add_device(self, device: StoredDevice) -> bool:
        """Keep a device; False if its address is taken."""
        added = self._do(
            "INSERT OR IGNORE INTO device VALUES (?,?,?,?,?,?,?,?)",
            device.id,
            device.name,
            device.address,
            device.created,
            device.ready,
            device.fault,
            *_columns(device.mark),
        )
        return added.rowcount == 1

    def devices(
        self, column: str = "", values: Collection[str] = ()
    ) -> Sequence[StoredDevice]:
        """List all devices, or those with one of these values.

        :param column: "id", "name" or "job"
        """
        return [_device(row) for row in self._rows(_DEVICE, column, values)]

    def mark_device(self, id: str, mark: Mark) -> None:
        """Write a device's mark."""
        self._do(
            "UPDATE device SET mark = ?, job = ? WHERE id = ?",
            *_columns(mark),
            id,
        )

    def delete_device(self, id: str) -> bool:
        """Forget a device; its floating IPs are attached to nothing then.

        :returns: whether there was one
        """
        self._do(
            "UPDATE ip SET device_id = NULL, revision = revision + 1 "
            "WHERE device_id = ?",
            id,
        )
        return self._do("DELETE FROM device WHERE id = ?", id).rowcount == 1

    def add_ip(self, ip: FloatingIP) -> bool:
        """Keep a floating IP; False if its address is taken."""
        added = self._do(
            "INSERT OR IGNORE INTO ip (id, address, mark, job) "
            "VALUES (?,?,?,?)",
            ip.id,
            ip.address,
            *_columns(ip.mark),
        )
        return added.rowcount == 1

    def ips(
        self, column: str = "", values: Collection[str] = ()
    ) -> Sequence[FloatingIP]:
        """List all floating IPs, or those with one of these values.

        :param column: "address", "device_id" or "job"
        """
        return [_ip(row) for row in self._rows(_IP, column, values)]

    def change_ip(
        self, ip: FloatingIP, device_id: str | None, mark: Mark | None
    ) -> bool:
        """Write device and mark, and count the revision up.

        :returns: False if its revision is another, and nothing was written
        """
        changed = self._do(
            "UPDATE ip SET device_id = ?, mark = ?, job = ?, "
            "revision = revision + 1 WHERE id = ? AND revision = ?",
            device_id,
            *_columns(mark),
            ip.id,
            ip.revision,
        )
        return changed.rowcount == 1

    def delete_ip(self, id: str) -> bool:
        """Forget a floating IP; return whether there was one."""
        return self._do("DELETE FROM ip WHERE id = ?", id).rowcount == 1

    def _rows(
        self, select: str, column: str, values: Collection[str]
    ) -> sqlite3.Cursor:
        if not column:
            return self._do(select)
        return self._do(
            f"{select} WHERE {column} IN (SELECT value FROM json_each(?))",
            json.dumps(list(values)),
        )

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        with _told():
            return self._db.execute(statement, values)


@contextmanager
def _told() -> Iterator[None]:
    """What SQLite says is what a cloud says that cannot be reached."""
    try:
        yield
    except sqlite3.Error as error:
        raise CloudUnavailable(f"the fake cloud's state: {error}") from error


def _columns(mark: Mark | None) -> tuple[str | None, str | None]:
    if mark is None:
        return None, None
    return json.dumps(vars(mark)), mark.unique


def _mark(text: str | None) -> Mark | None:
    try:
        fields = json.loads(text or "")
    except ValueError:
        return None
    return Mark.read(fields) if isinstance(fields, dict) else None


def _device(
    row: tuple[str, str | bytes, str, float, float, str | None, str | None],
) -> StoredDevice:
    id_, name, address, created, ready, fault, mark = row
    times = _seconds(created), _seconds(ready)
    if isinstance(name, bytes):
        name = decoded(name)
    return StoredDevice(id_, name, address, *times, fault, _mark(mark))


def _seconds(value: object) -> float:
    """A time; NaN for what is none, since SQLite keeps any type."""
    return value if isinstance(value, (int, float)) else math.nan


def _ip(row: tuple[str, str, str | None, int, str | None]) -> FloatingIP:
    id_, address, device_id, revision, mark = row
    of = _mark(mark)
    made = of.made if of else None
    return FloatingIP(id_, address, device_id, revision, of, made)
