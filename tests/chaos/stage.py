"""A stage for a single kill: the worker dies during a chosen call."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.batches import FUNCTION
from tests.chaos.audit import serious
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.pool import reaped, scene, write_configuration
from tests.clouds import nova_group, nova_on
from tests.jobservers import JobServerProcess, gearmand
from tests.polling import until
from tests.processes import Process

TIMEOUT = 60.0
POOL = "stage"


@dataclass(frozen=True)
class Moment:
    """The moment at which a worker is killed.

    :ivar method: HTTP method of the call
    :ivar path: regular expression of its path
    :ivar effect: "never": the call takes no effect; "before": it took effect
        but was not answered; "late": it takes effect after the kill
    :ivar skip: number of such calls that come before
    :ivar late: seconds from the kill to a late effect
    """

    method: str
    path: str
    effect: str = "before"
    skip: int = 0
    late: float = 0.0

    def __str__(self) -> str:
        late = f" {self.late:g}" if self.late else ""
        number = f" {self.skip + 1}" if self.skip else ""
        return f"{self.method} {self.path}{number} {self.effect}{late}"


@dataclass
class Hold:
    """A call that the cloud delays.

    :ivar calls: the call, once it has arrived
    """

    fault: Fault
    calls: list[Call] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the call is complete, with its effect if it has one."""
        if self.fault.drop or self.fault.after:
            return True
        return all(call.status is not None for call in self.calls)


@dataclass
class Stage:
    """A job server, a cloud, and workers started one by one."""

    cloud: LoopbackCloud
    server: JobServerProcess
    folder: Path
    stack: ExitStack
    ledger: Ledger = field(default_factory=Ledger)

    def start(self, address: Address | None = None) -> Process:
        """Start a worker without waiting for its registration.

        :param address: the job server's address
        """
        server = address or self.server.address
        clouds = self.folder / "clouds.yaml"
        path = self.folder / f"{server.port}.conf"
        # Written only once, since another worker may be reading it.
        if not clouds.exists():
            self.cloud.write_clouds_yaml(clouds)
        if not path.exists():
            write_configuration(path, POOL, nova_group("loopback"), server)
        process = Process(
            ["--config-file", str(path), "worker"],
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )
        self.stack.callback(process.end)
        self.stack.callback(process.signal, signal.SIGCONT)
        return process

    def several(
        self, number: int = 2, address: Address | None = None
    ) -> list[Process]:
        """Start several workers; all but the first are stopped until SIGCONT.

        :param address: the job server's address for the first worker
        """
        workers = [self.start(address)]
        workers += [self.start() for _number in range(number - 1)]
        for worker in workers:
            worker.wait_for("registered")
        for worker in workers[1:]:
            worker.signal(signal.SIGSTOP)
        return workers

    def submit(self, action: str, **fields: str) -> "Future[Entry]":
        """Submit a job and return its entry once it is answered."""
        entry = self.ledger.open(action, **fields)
        pool = ThreadPoolExecutor(1)
        self.stack.callback(pool.shutdown)
        return pool.submit(self._ask, entry)

    def passes(self, action: str, **fields: str) -> dict[str, Any]:
        """Submit a job and return its answer, which must be a PASS."""
        return passed(self.submit(action, **fields))

    def hold(self, moment: Moment) -> Hold:
        """Make the cloud delay the call during which a worker is killed."""
        seconds = moment.late or TIMEOUT
        arrived: list[Call] = []
        lock = threading.Lock()
        skip = [moment.skip]

        def is_it(call: Call) -> bool:
            with lock:
                if arrived or skip[0]:
                    skip[0] -= not arrived
                    return False
                arrived.append(call)
            return True

        fault = Fault(
            method=moment.method,
            path=moment.path,
            where=is_it,
            hang=seconds,
            drop=moment.effect == "never",
            after=moment.effect == "before",
        )
        self.cloud.fault(fault)
        return Hold(fault, arrived)

    def killed_at(
        self, moments: list[Moment], action: str, **fields: str
    ) -> tuple[dict[str, Any], Hold]:
        """Kill the job's workers, one at each moment.

        :param moments: one for each worker to kill; one more worker remains
        :returns: the answer, and the call of the last kill
        """
        worker, *others = self.several(len(moments) + 1)
        hold = self.hold(moments[0])
        answer = self.submit(action, **fields)
        for number, other in enumerate(others, start=1):
            until(lambda: hold.calls, TIMEOUT)  # noqa: B023 - at once
            last = hold
            if number < len(moments):
                hold = self.hold(moments[number])
            worker.signal(signal.SIGKILL)
            other.signal(signal.SIGCONT)
            worker = other
        return passed(answer), last

    def check(self) -> None:
        """Run the reaper and compare the cloud with the clients' records."""
        with nova_on(self.cloud) as driver:
            before = scene(driver, POOL).audit(self.ledger)
            assert not serious(before, reaped=False), _as_lines(before)
            reaped(driver, POOL, [self.server.address])
            after = scene(driver, POOL).audit(self.ledger)
            assert not after, _as_lines(after)
        assert not self.ledger.problems

    def _ask(self, entry: Entry) -> Entry:
        async def ask() -> bytes:
            async with Client([self.server.address]) as client:
                message = {"action": entry.action, **entry.fields}
                job = await client.submit(
                    FUNCTION,
                    json.dumps(message).encode(),
                    unique=entry.unique,
                )
                entry.handle = job.handle
                return await job.result(TIMEOUT)

        self.ledger.answered(entry, json.loads(asyncio.run(ask())))
        for kind in ("device", "address"):
            if entry.action.startswith("BUILD"):
                self.ledger.hold(kind, entry)
        if entry.action == "ASSIGN_IP" and entry.passed:
            address = self.ledger.held("address", entry.fields["ip"])
            assert address is not None
            address.where = {entry.fields["name"]}
        return entry


def passed(answer: "Future[Entry]") -> dict[str, Any]:
    """Return the answer, which must be a PASS."""
    entry = answer.result(2 * TIMEOUT)
    assert entry.passed, entry.answer
    assert entry.answer is not None
    return entry.answer


@contextmanager
def stage(folder: Path, **settings: Any) -> Iterator[Stage]:
    """Run a stage.

    :param settings: the cloud's settings
    """
    common = {"boot_time": 0.3}
    with (
        LoopbackCloud(**{**common, **settings}) as cloud,
        gearmand() as server,
        ExitStack() as stack,
    ):
        yield Stage(cloud, server, folder, stack)


def settled(hold: Hold) -> None:
    """Wait until a delayed call is complete."""
    until(lambda: hold.over, TIMEOUT)
    time.sleep(0.05)


def _as_lines(findings: list[Any]) -> str:
    return "\n".join(map(str, findings))
