"""The tables of the fake cloud's database."""

import sqlite3
from collections.abc import Iterator

from poolmgr.errors import ConfigError

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


def open_database(path: str) -> sqlite3.Connection:
    """Open a database with the fake cloud's tables, empty ones if it is new.

    :param path: a file, or ``:memory:``
    :raises ConfigError: the file cannot be used
    """
    try:
        db = sqlite3.connect(
            path,
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


def _prepare(path: str, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA journal_mode = WAL")
    # A power cut may cost the fake cloud its last devices.
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN IMMEDIATE")
    with db:
        _create_tables(path, db)


def _create_tables(path: str, db: sqlite3.Connection) -> None:
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
