"""The fake cloud's database: its tables, and what is in their rows."""

import json
import sqlite3
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.errors import ConfigError
from poolmgr.ownership import Mark

Values = Iterable[str] | None

#: What finds devices and floating IPs of jobs.
UNIQUE = "json_extract(mark, '$.unique')"
_TABLES = f"""
-- Not WAL: processes that turn it on together fail. A power cut may cost the
-- fake cloud its last devices.
PRAGMA synchronous = OFF;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, name TEXT, address TEXT UNIQUE,
    created REAL, ready REAL, fault TEXT, mark TEXT
);
CREATE TABLE IF NOT EXISTS ip (
    id TEXT PRIMARY KEY, address TEXT UNIQUE, device_id TEXT UNIQUE,
    revision INTEGER, mark TEXT
);
CREATE INDEX IF NOT EXISTS device_name ON device (name);
CREATE INDEX IF NOT EXISTS device_unique ON device ({UNIQUE});
CREATE INDEX IF NOT EXISTS ip_unique ON ip ({UNIQUE});
COMMIT;
"""


def open_database(path: str) -> sqlite3.Connection:
    """Open a database with the fake cloud's tables, empty ones if it is new.

    :param path: a file, or ``:memory:``
    :raises ConfigError: the file cannot be used
    """
    try:
        db = sqlite3.connect(
            path, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        db.executescript(_TABLES)
    except sqlite3.Error as error:
        raise ConfigError(
            f"[fake] state: cannot use {path!r} as a database: {error}"
        ) from error
    return db


def find_devices(
    db: sqlite3.Connection, column: str = "id", values: Values = None
) -> list[Device]:
    """Find the devices that have one of these values.

    :param column: ``id``, ``name`` or :data:`UNIQUE`
    :param values: None for all devices
    """
    return [device_of(row) for row in _find(db, "device", column, values)]


def find_ips(
    db: sqlite3.Connection, column: str = "id", values: Values = None
) -> list[FloatingIP]:
    """Find the floating IPs that have one of these values.

    :param column: ``address`` or :data:`UNIQUE`
    :param values: None for all floating IPs
    """
    return [ip_of(row) for row in _find(db, "ip", column, values)]


def _find(
    db: sqlite3.Connection, table: str, column: str, values: Values
) -> sqlite3.Cursor:
    select = f"SELECT * FROM {table}"
    if values is None:
        return db.execute(select)
    where = f"WHERE {column} IN (SELECT value FROM json_each(?))"
    return db.execute(f"{select} {where}", (json.dumps(list(values)),))


def device_of(row: tuple[Any, ...]) -> Device:
    """A row of the table ``device``, as it is now."""
    id_, name, address, created, ready, fault, mark = row
    status: Status = "failed" if fault else "active"
    if time.time() < ready:
        status = "building"
    return Device(
        id=id_,
        name=name,
        status=status,
        address=address if status == "active" else None,
        created=datetime.fromtimestamp(created, UTC).isoformat("T", "seconds"),
        fault=fault if status == "failed" else None,
        mark=_mark(mark),
    )


def ip_of(row: tuple[Any, ...]) -> FloatingIP:
    """A row of the table ``ip``."""
    id_, address, device_id, revision, text = row
    mark = _mark(text)
    created = mark.made if mark else None
    return FloatingIP(id_, address, device_id, revision, mark, created)


def text_of(mark: Mark | None) -> str:
    """A mark as the tables have it."""
    return json.dumps(mark and vars(mark))


def _mark(text: str) -> Mark | None:
    return Mark.read(json.loads(text) or {})
