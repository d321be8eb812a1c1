"""The state of a worker process's fake cloud."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from poolmgr.drivers.base import Device
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Mark
from tests.batches import Answer, Batch

#: Seconds of a boot that the test ends with :meth:`State.boot`.
NEVER = 3600
#: The configuration of a worker with one slot.
ONE_SLOT = "[worker]\nlong_jobs = 1\nshort_jobs = 1\nheld_jobs = 0\n"


class State:
    """The fake cloud of a worker process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cloud.db"

    def config(self, rest: str = "", **fake: object) -> str:
        """Return a worker's configuration with this cloud.

        :param rest: other groups
        :param fake: other options of the group [fake]
        """
        options = {"state": self.path, **fake}
        lines = [f"{name} = {value}" for name, value in options.items()]
        return "\n".join(["[fake]", *lines, rest, ""])

    def devices(self) -> list[Device]:
        """Return all devices."""
        with self._cloud() as cloud:
            return list(cloud.list_devices(10.0))

    def marks(self) -> list[Mark]:
        """Return the marks of all devices and floating IPs."""
        with self._cloud() as cloud:
            marks = [d.mark for d in cloud.list_devices(10.0)]
            marks += [ip.mark for ip in cloud.list_ips(10.0)]
        return [mark for mark in marks if mark is not None]

    def owned(self) -> list[str]:
        """Return the uniques of the jobs whose clients may own a resource."""
        return sorted(m.unique for m in self.marks() if not m.is_left)

    def owners(self) -> dict[str, str]:
        """Return the unique of the job that owns each device, by name."""
        return {
            device.name: device.mark.unique
            for device in self.devices()
            if device.mark is not None and not device.mark.is_left
        }

    def boot(self, uniques: Iterable[str] | None = None) -> None:
        """Finish the boot of the jobs' devices now; of all by default."""
        names = {d.mark.unique: d.name for d in self.devices() if d.mark}
        uniques = names if uniques is None else uniques
        now = time.time()
        with closing(sqlite3.connect(self.path, timeout=60.0)) as db, db:
            db.executemany(
                "UPDATE device SET ready = ? WHERE name = ? AND ready > ?",
                [(now, names[unique], now) for unique in uniques],
            )

    def boots(self) -> list[tuple[float, float]]:
        """Return when each device was created and ready, in order."""
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute(
                "SELECT created, ready FROM device ORDER BY created"
            )
            return [(created, ready) for created, ready in rows]

    @contextmanager
    def _cloud(self) -> Iterator[FakeCloud]:
        settings = FakeSettings(state=str(self.path))
        with closing(FakeCloud(settings)) as cloud:
            yield cloud


def require_one_device_per_job(
    state: State, batch: Batch, answers: Sequence[Answer]
) -> None:
    """Check that each job owns one device and that there are no others."""
    owners = state.owners()
    expected = {
        answer["name"]: unique
        for answer, unique in zip(answers, batch.uniques, strict=True)
    }
    assert owners == expected
    assert len(state.devices()) == len(answers)
