"""The tables of the fake cloud, and conversions of their rows."""

import ipaddress
import json
import sqlite3
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from poolmgr.drivers.base import Device, FloatingIP, Status
from poolmgr.errors import QuotaExceeded
from poolmgr.ownership import Mark

#: The unique of a row's mark. SQLite uses an index on an expression only for
#: a query that spells it alike.
UNIQUE = "json_extract(mark, '$.unique')"
#: Creates the tables unless they exist.
TABLES = f"""
-- Not WAL: it fails when several processes turn it on at the same time. A
-- power cut may cost the fake cloud its last devices.
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


def select_rows(
    db: sqlite3.Connection,
    table: str,
    column: str = "",
    values: Collection[str] = (),
) -> sqlite3.Cursor:
    """Select the rows with one of these values in a column, or all rows."""
    select = f"SELECT * FROM {table}"
    if not column:
        return db.execute(select)
    # One parameter: SQLite limits their number.
    where = f"WHERE {column} IN (SELECT value FROM json_each(?))"
    return db.execute(f"{select} {where}", (json.dumps([*values]),))


def choose_address(
    db: sqlite3.Connection, table: str, quota: int, network: str
) -> str:
    """Return a free address of a network.

    :raises QuotaExceeded: the quota or the network is used up
    """
    ((count,),) = db.execute(f"SELECT count(*) FROM {table}")
    if count >= quota:
        raise QuotaExceeded(f"quota of {quota} {table}s is used up")
    addresses = ipaddress.IPv4Network(network)
    size = addresses.num_addresses
    # The first and the last address are not for hosts, unless they are all.
    skipped = {0, size - 1} if size > 2 else set()
    used = f"SELECT 1 FROM {table} WHERE address = ?"
    # Without gaps the address after as many as there are is free.
    for number in range(count, count + size):
        address = str(addresses[number % size])
        is_used = db.execute(used, (address,)).fetchone()
        if number % size not in skipped and not is_used:
            return address
    raise QuotaExceeded(f"no address of {network} is left")


def device_of(row: tuple[Any, ...]) -> Device:
    """Return the device of a row in its current state."""
    id_, name, address, created, ready, fault, mark = row
    # No timer changes the state of a device; the clock alone tells it.
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
        mark=_load(mark),
    )


def ip_of(row: tuple[Any, ...]) -> FloatingIP:
    """Return the floating IP of a row."""
    id_, address, device_id, revision, text = row
    mark = _load(text)
    created = mark.made if mark else None
    return FloatingIP(id_, address, device_id, revision, mark, created)


def dump_mark(mark: Mark | None) -> str:
    """Return a mark as a row has it."""
    return json.dumps(mark and vars(mark))


def _load(text: str) -> Mark | None:
    return Mark.read(json.loads(text) or {})
