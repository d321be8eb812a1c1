"""Whatever faults leave behind, and other versions write, can be looked at.

One odd entry is shown with what is known of it, the others fully.
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
#: What a row may have instead of a mark that can be read.
NO_MARKS = ("null", "{}", '{"pool": 5, "state": "building"}')
#: What other versions may write; each is a mark of this pool.
OTHER_MARKS: tuple[dict[str, Any], ...] = (
    {"state": "on loan", "colour": "red", "version": 2},
    {"state": "building", "taken": "many"},
    {"state": "building", "taken": -1, "made": 1790000000},
    {"state": "withdrawn", "unique": None, "handle": ["H:a:1"], "made": None},
    {"state": "handed over", "made": "yesterday", "taken": 1.5},
)
#: What else may be wrong with a device.
ODD_DEVICES = (
    "ready = 9e9",
    "name = '', fault = 'no room'",
)


def marks() -> Iterator[Mark]:
    """Marks in every state, as first made and taken over."""
    made = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    for state in get_args(State):
        for taken in (0, 1, 7):
            unique = f"u-{state}"
            yield Mark("libra", unique, "H:a:1", made, state, taken)


@dataclass(frozen=True)
class Kept:
    """A fake cloud's file, with odd rows in it.

    :ivar ids: of all there is, by kind
    """

    path: Path
    ids: dict[str, list[str]]

    @property
    def environment(self) -> dict[str, str]:
        """Of commands that look at it, and may touch everything."""
        return {
            "OS_POOLMGR__DRIVER": "fake",
            "OS_POOLMGR__AUTHORITY": "any",
            "OS_FAKE__STATE": str(self.path),
        }

    def printed(self, *args: str) -> str:
        """What a command prints that has to work."""
        done = poolmgr(*args, **self.environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def rows(self, *args: str) -> Any:
        """The same, from JSON."""
        return json.loads(self.printed(*args, "-f", "json"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    path = tmp_path_factory.mktemp("odd") / "cloud.db"
    texts = [json.dumps({"pool": "libra", **each}) for each in OTHER_MARKS]
    texts += NO_MARKS
    given = [*marks(), *[next(marks())] * (len(texts) + len(ODD_DEVICES))]
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
        for number, odd in enumerate(ODD_DEVICES, start=len(texts)):
            db.execute(
                f"UPDATE device SET {odd} WHERE id = ?",  # noqa: S608
                (ids["device"][number],),
            )
    return Kept(path, ids)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_list_shows_every_entry_in_every_format(
    kept: Kept, kind: str, format_: str
) -> None:
    order = [x for c in COLUMNS[kind] for x in ("--sort-column", c)]

    text = kept.printed(kind, "list", "--all", "-f", format_, *order)

    assert [id_ for id_ in kept.ids[kind] if id_ not in text] == []


def test_filters_meet_every_entry(kept: Kept) -> None:
    named = kept.rows("device", "list", "--name", "libra-")
    old = kept.rows("device", "list", "--older-than", "1d")
    free = kept.rows("ip", "list", "--unattached", "--older-than", "1d")
    held = kept.rows("ip", "list", "--attached", "--device", "libra-none")

    assert len(named) == len(kept.ids["device"]) - 1
    assert {*get_args(State)} <= {row["State"] for row in free}
    assert (old, held) == ([], [])


def test_each_can_be_shown(kept: Kept) -> None:
    devices = kept.rows("device", "list", "--all")
    ips = kept.rows("ip", "list", "--all")
    ids = [row["ID"] for row in devices if row["State"] == "on loan"]
    ids += [row["ID"] for row in devices if row["Name"] == ""]
    addresses = [row["Address"] for row in ips if row["State"] == "on loan"]

    of_another_version, unnamed = [
        kept.rows("device", "show", id_) for id_ in ids
    ]
    ip = kept.rows("ip", "show", *addresses)

    for each in (of_another_version, ip):
        assert (each["pool"], each["state"]) == ("libra", "on loan")
        assert each["job"] is None
    assert (unnamed["status"], unnamed["fault"]) == ("failed", "no room")


def test_what_is_in_a_state_of_another_version_is_not_reaped(
    kept: Kept,
) -> None:
    look = ("reap", "--dry-run", "--without-job-servers")

    cases = kept.rows(*look, "--older-than", "0s")

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


def test_a_worker_shows_them_on_its_page_and_in_its_report(
    kept: Kept, tmp_path: Path
) -> None:
    config = "[reaper]\ninterval = 0.1\n"
    with (
        builtin() as server,
        watched(
            [server.address], tmp_path, config, environment=kept.environment
        ) as worker,
    ):
        until(lambda: "does not know its state" in worker.get("/").body)
        worker.process.signal(signal.SIGUSR2)
        worker.process.wait_for("end of the state report")

        assert "defect" not in "".join(worker.process.lines)
