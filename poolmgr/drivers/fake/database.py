"""The fake cloud's database: its tables, and what is in their rows."""

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.errors import ConfigError
from poolmgr.ownership import Mark

#: What finds devices and floating IPs of jobs.
UNIQUE = "json_extract(mark, '$.unique')"
_TABLES = f"""
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
LIST_DEVICES = """
SELECT id, name, address, created, ready, fault, mark FROM device
"""
LIST_IPS = "SELECT id, address, device_id, revision, mark FROM ip"
ADD_DEVICE = """
INSERT INTO device (id, name, address, created, ready, fault, mark)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
ADD_IP = """
INSERT INTO ip (id, address, device_id, revision, mark) VALUES (?, ?, ?, ?, ?)
"""


def open_database(path: str) -> sqlite3.Connection:
    """Open a database with the fake cloud's tables, empty ones if it is new.

    :param path: a file, or ``:memory:``
    :raises ConfigError: the file cannot be used
    """
    try:
        with ExitStack() as unless_usable:
            db = sqlite3.connect(
                path, 30.0, isolation_level=None, check_same_thread=False
            )
            unless_usable.callback(db.close)
            db.execute("PRAGMA journal_mode = WAL")
            # A power cut may cost the fake cloud its last devices.
            db.execute("PRAGMA synchronous = OFF")
            db.executescript(_TABLES)
            unless_usable.pop_all()
            return db
    except sqlite3.Error as error:
        raise ConfigError(
            f"[fake] state: cannot use {path!r} as a database: {error}"
        ) from error


def find(
    db: sqlite3.Connection, select: str, column: str, values: Iterable[str]
) -> sqlite3.Cursor:
    """Find the rows that have one of these values.

    :param select: :data:`LIST_DEVICES` or :data:`LIST_IPS`
    :param column: an indexed column, or :data:`UNIQUE`
    """
    wanted = json.dumps(list(values))
    return db.execute(
        f"{select} WHERE {column} IN (SELECT value FROM json_each(?))",
        (wanted,),
    )


def device_of(row: tuple[Any, ...]) -> Device:
    """A row of :data:`LIST_DEVICES` as it is now."""
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
    """A row of :data:`LIST_IPS`."""
    id_, address, device_id, revision, text = row
    mark = _mark(text)
    created = mark.made if mark else None
    return FloatingIP(id_, address, device_id, revision, mark, created)


def text_of(mark: Mark | None) -> str:
    """A mark as the tables have it."""
    return json.dumps(mark and vars(mark))


def _mark(text: str | None) -> Mark | None:
    return Mark.read(json.loads(text or "null") or {})
