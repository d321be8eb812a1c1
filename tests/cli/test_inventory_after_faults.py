"""Tests of lists with resources that faults or other versions left behind.

An unreadable value is shown as unknown; everything else is shown.
"""

import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Mark, State
from tests.jobservers import builtin
from tests.monitoring.watched import watched
from tests.polling import until
from tests.processes import poolmgr

FORMATS = ("table", "csv", "json", "value", "yaml")
COLUMNS = {
    "device": ("Name", "Status", "Address", "Age", "State", "Job", "ID"),
    "ip": ("Address", "Attached to", "Age", "State", "Job", "ID"),
}
#: Stored marks that cannot be read.
UNREADABLE_MARKS = ("null", "{}", '{"pool": 5, "state": "building"}')
#: Fields of this pool's marks as other versions may write them.
OTHER_VERSIONS_MARKS: tuple[dict[str, Any], ...] = (
    {"state": "on loan", "colour": "red", "version": 2},
    {"state": "building", "taken": "many"},
    {"state": "building", "taken": -1, "made": 1790000000},
    {"state": "withdrawn", "unique": None, "handle": ["H:a:1"], "made": None},
    {"state": "handed over", "made": "yesterday", "taken": 1.5},
)
#: SQL that makes a device invalid.
INVALID_DEVICES = (
    "ready = 9e9",
    "name = '', fault = 'no room'",
)


def marks() -> Iterator[Mark]:
    """Yield marks in every state, of jobs taken over 0, 1 and 7 times."""
    made = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    for state in get_args(State):
        for taken in (0, 1, 7):
            unique = f"u-{state}"
            yield Mark("libra", unique, "H:a:1", made, state, taken)


@dataclass(frozen=True)
class StoredCloud:
    """A fake cloud's file with invalid rows.

    :ivar ids: of all resources, by kind
    """

    path: Path
    ids: dict[str, list[str]]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of commands that may change every row."""
        return {
            "OS_POOLMGR__DRIVER": "fake",
            "OS_POOLMGR__AUTHORITY": "any",
            "OS_FAKE__STATE": str(self.path),
        }

    def run(self, *args: str) -> str:
        """Run a command; return its output, and fail unless it succeeds."""
        done = poolmgr(*args, **self.environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def rows(self, *args: str) -> Any:
        """Run a command and return its decoded JSON output."""
        return json.loads(self.run(*args, "-f", "json"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredCloud:
    """Return a cloud with valid and invalid devices and floating IPs."""
    path = tmp_path_factory.mktemp("stored") / "cloud.db"
    texts = [
        json.dumps({"pool": "libra", **fields})
        for fields in OTHER_VERSIONS_MARKS
    ]
    texts += UNREADABLE_MARKS
    number_invalid = len(texts) + len(INVALID_DEVICES)
    given = [*marks(), *[next(marks())] * number_invalid]
    with contextlib.closing(FakeCloud(FakeSettings(state=str(path)))) as cloud:
        for number, mark in enumerate(given):
            name = f"libra-eaf1fef0-1584-11e3-b42b-{number:012}"
            device = cloud.create_device(name, mark, 20.0)
            ip = cloud.create_ip(mark, 20.0)
            if number % 2:
                cloud.attach_ip(ip, device, 20.0)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        ids = {
            kind: [id_ for (id_,) in db.execute(select)]
            for kind, select in (
                ("device", "SELECT id FROM device ORDER BY rowid DESC"),
                ("ip", "SELECT id FROM ip ORDER BY rowid DESC"),
            )
        }
        for number, text in enumerate(texts):
            for update, kind in (
                ("UPDATE device SET mark = ? WHERE id = ?", "device"),
                ("UPDATE ip SET mark = ? WHERE id = ?", "ip"),
            ):
                db.execute(update, (text, ids[kind][number]))
        for number, values in enumerate(INVALID_DEVICES, start=len(texts)):
            db.execute(
                f"UPDATE device SET {values} WHERE id = ?",  # noqa: S608
                (ids["device"][number],),
            )
    return StoredCloud(path, ids)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_list_shows_every_entry_in_every_format(
    stored: StoredCloud, kind: str, format_: str
) -> None:
    order = [x for c in COLUMNS[kind] for x in ("--sort-column", c)]

    text = stored.run(kind, "list", "--all", "-f", format_, *order)

    assert [id_ for id_ in stored.ids[kind] if id_ not in text] == []


def test_filters_work_on_every_entry(stored: StoredCloud) -> None:
    named = stored.rows("device", "list", "--name", "libra-")
    old = stored.rows("device", "list", "--older-than", "1d")
    free = stored.rows("ip", "list", "--unattached", "--older-than", "1d")
    absent = stored.rows("ip", "list", "--attached", "--device", "libra-none")

    assert len(named) == len(stored.ids["device"]) - 1
    assert {*get_args(State)} <= {row["State"] for row in free}
    assert (old, absent) == ([], [])


def test_another_versions_resources_and_a_nameless_device_are_shown(
    stored: StoredCloud,
) -> None:
    devices = stored.rows("device", "list", "--all")
    ips = stored.rows("ip", "list", "--all")
    ids = [row["ID"] for row in devices if row["State"] == "on loan"]
    ids += [row["ID"] for row in devices if row["Name"] == ""]
    addresses = [row["Address"] for row in ips if row["State"] == "on loan"]

    of_another_version, unnamed = [
        stored.rows("device", "show", id_) for id_ in ids
    ]
    ip = stored.rows("ip", "show", *addresses)

    for each in (of_another_version, ip):
        assert (each["pool"], each["state"]) == ("libra", "on loan")
        assert each["job"] is None
    assert (unnamed["status"], unnamed["fault"]) == ("failed", "no room")


def test_a_resource_in_an_unknown_state_is_not_reaped(
    stored: StoredCloud,
) -> None:
    reap = ("reap", "--dry-run", "--without-job-servers")

    cases = stored.rows(*reap, "--older-than", "0s")

    assert {case["State"] for case in cases} == {
        "building",
        "withdrawn",
        "unconfirmed",
        "on loan",
    }
    for case in cases:
        if case["State"] == "on loan":
            assert case["Verdict"] == "kept"
            assert "does not know its state" in case["Reason"]


def test_a_worker_shows_unknown_states_on_its_page_and_reports(
    stored: StoredCloud, tmp_path: Path
) -> None:
    config = "[reaper]\ninterval = 0.1\n"
    with (
        builtin() as server,
        watched(
            [server.address], tmp_path, config, environment=stored.environment
        ) as worker,
    ):
        until(lambda: "does not know its state" in worker.get("/").body)
        worker.process.signal(signal.SIGUSR2)
        worker.process.wait_for("end of the state report")

        assert "defect" not in "".join(worker.process.lines)
