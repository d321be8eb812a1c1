"""Many jobs at once, what the worker did with them, and what is left."""

import asyncio
import json
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from poolmgr.drivers.base import Device
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.gearman import Address, Client, LinkOptions, SubmittedJob, admin
from poolmgr.identity import Mark
from poolmgr.waiting import Deadline
from tests.processes import Process

FUNCTION = "libra_pool_mgm"
PATIENCE = 60.0

BUILD = {"action": "BUILD_DEVICE"}
BUILD_IP = {"action": "BUILD_IP"}

Answer = dict[str, Any]


class Batch:
    """One client that hands in its jobs at once and waits for the answers.

    :ivar uniques: of each job
    :ivar handles: of each job, once :meth:`submitted`
    """

    def __init__(
        self,
        server: Address,
        messages: Sequence[object],
        uniques: Sequence[str] | None = None,
        options: LinkOptions | None = None,
    ) -> None:
        self.uniques = uniques or [str(uuid.uuid4()) for _ in messages]
        self.handles: list[str] = []
        self._server = server
        self._payloads = [
            message
            if isinstance(message, bytes)
            else json.dumps(message).encode()
            for message in messages
        ]
        self._options = options
        self._results: list[bytes | BaseException] = []
        self._error: BaseException | None = None
        self._has_submitted = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submitted(self) -> None:
        """Wait until the job server has all of them."""
        assert self._has_submitted.wait(PATIENCE)
        if self._error is not None:
            raise self._error

    def results(self) -> list[bytes | BaseException]:
        """What came of each job, once all are known."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "not all jobs were answered"
        if self._error is not None:
            raise self._error
        return self._results

    def answers(self) -> list[Answer]:
        """The answers; every job must have had one."""
        found = []
        for result in self.results():
            if isinstance(result, BaseException):
                raise result
            found.append(json.loads(result))
        return found

    def passes(self) -> list[Answer]:
        """The answers, each a PASS."""
        found = self.answers()
        assert {answer["response"] for answer in found} == {"PASS"}, found
        return found

    def close(self) -> None:
        """Have it gone; who waits still is disconnected."""
        with suppress(RuntimeError):  # it is over
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        except BaseException as error:
            self._error = error
        finally:
            self._loop.close()
            self._has_submitted.set()

    async def _run(self) -> None:
        async with Client([self._server], self._options) as client:
            jobs: list[SubmittedJob] = await asyncio.gather(
                *(
                    client.submit(FUNCTION, payload, unique=unique)
                    for payload, unique in zip(
                        self._payloads, self.uniques, strict=True
                    )
                )
            )
            self.handles = [job.handle for job in jobs]
            self._has_submitted.set()
            self._results = list(
                await asyncio.gather(
                    *(job.result(PATIENCE) for job in jobs),
                    return_exceptions=True,
                )
            )


@contextmanager
def batch(
    server: Address,
    messages: Sequence[object],
    uniques: Sequence[str] | None = None,
    options: LinkOptions | None = None,
) -> Iterator[Batch]:
    """Hand in jobs, and be their client while the block runs."""
    made = Batch(server, messages, uniques, options)
    try:
        made.submitted()
        yield made
    finally:
        made.close()


def ask(server: Address, message: object = BUILD_IP) -> Answer:
    """The answer to one job."""
    with batch(server, [message]) as one:
        return one.answers()[0]


async def _queue(server: Address, payloads: Sequence[bytes]) -> list[str]:
    uniques = [str(uuid.uuid4()) for _ in payloads]
    async with Client([server]) as client:
        await asyncio.gather(
            *(
                client.submit(FUNCTION, p, unique=unique, background=True)
                for p, unique in zip(payloads, uniques, strict=True)
            )
        )
    return uniques


def queue(server: Address, messages: Sequence[object]) -> list[str]:
    """Hand in jobs that nobody waits for; their uniques."""
    payloads = [json.dumps(message).encode() for message in messages]
    return asyncio.run(_queue(server, payloads))


def at(server: Address) -> tuple[int, int]:
    """How many jobs a server has, and how many of them a worker has."""
    for function in asyncio.run(admin.status(server)):
        if function.name == FUNCTION:
            return function.queued, function.running
    return 0, 0


def executions(process: Process) -> Counter[str]:
    """How often a worker has run each unique to an end."""
    return Counter(
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=" in line
    )


def passed(process: Process) -> set[str]:
    """The uniques of the jobs that a worker has run to a PASS."""
    return {
        _word(line, "unique=")
        for line in list(process.lines)
        if " outcome=PASS" in line
    }


def registrations(process: Process) -> int:
    """How often a worker has registered at any server."""
    return sum("registered" in line for line in list(process.lines))


def warnings(process: Process, server: Address | str) -> list[str]:
    """What a worker has had to say against a job server."""
    words = f"Job server {server}: "
    return [
        line.partition(words)[2].rstrip("\n")
        for line in list(process.lines)
        if words in line and " WARNING " in line
    ]


def _word(line: str, name: str) -> str:
    return line.partition(name)[2].split(" ")[0]


class State:
    """What is in the fake cloud of a worker process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cloud.db"

    def config(self, rest: str = "", **fake: object) -> str:
        """A worker's configuration with this cloud.

        :param rest: other groups
        :param fake: other options of the group [fake]
        """
        options = {"state": self.path, **fake}
        lines = [f"{name} = {value}" for name, value in options.items()]
        return "\n".join(["[fake]", *lines, rest, ""])

    def devices(self) -> list[Device]:
        """All devices."""
        with self._cloud() as cloud:
            return list(cloud.list_devices(Deadline(10.0)))

    def marks(self) -> list[Mark]:
        """The marks of all devices and floating IPs."""
        with self._cloud() as cloud:
            found = [d.mark for d in cloud.list_devices(Deadline(10.0))]
            found += [ip.mark for ip in cloud.list_ips(Deadline(10.0))]
        return [mark for mark in found if mark is not None]

    def owned(self) -> list[str]:
        """The uniques of the jobs whose client has a thing, or may."""
        return sorted(m.unique for m in self.marks() if not m.is_left)

    def owners(self) -> dict[str, str]:
        """The names of the devices, and whose client has each, or may."""
        return {
            device.name: device.mark.unique
            for device in self.devices()
            if device.mark is not None and not device.mark.is_left
        }

    def boots(self) -> list[tuple[float, float]]:
        """When each device was made and when it was ready, in order."""
        with closing(sqlite3.connect(self.path)) as db:
            found = db.execute(
                "SELECT created, ready FROM device ORDER BY created"
            )
            return [(created, ready) for created, ready in found]

    @contextmanager
    def _cloud(self) -> Iterator[FakeCloud]:
        settings = FakeSettings(state=str(self.path))
        with closing(FakeCloud(settings)) as cloud:
            yield cloud


def require_one_device_a_job(
    state: State, batch: Batch, answers: Sequence[Answer]
) -> None:
    """Each client has a device of its own, and there is no other."""
    owners = state.owners()
    mine = {
        answer["name"]: unique
        for answer, unique in zip(answers, batch.uniques, strict=True)
    }
    assert owners == mine
    assert len(state.devices()) == len(answers)
