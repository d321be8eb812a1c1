"""What the calls of the cloud depend on, and what a list costs.

    python benchmarks/calls_curve.py [SIZES] [BUILDS] [ROUNDS]

SIZES and BUILDS are numbers with commas between them. First, against the
servers in the pool: the calls of one job of each kind, and the CPU time of a
list of all, in milliseconds: from its bytes on, of that reading the JSON, what
Python's own module takes to read it, and the whole with HTTP. Then, against
the builds that wait: calls a minute and the builds' threads' CPU, in per cent
of a core, of a manager in this process.
"""

import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import openstack
from clouds import Cloud, cloud
from poolmgr.waiting import Deadline
from pulse import undisturbed

from poolmgr import Job, PoolManager
from poolmgr.drivers.nova import NovaCloud
from poolmgr.drivers.nova.calls import Call, parsed
from poolmgr.drivers.nova.servers import _Listed
from poolmgr.ownership import Mark
from poolmgr.settings import PoolSettings

SECONDS = 20.0
LISTS = 15
KINDS = (
    "BUILD_DEVICE",
    "BUILD_IP",
    "ASSIGN_IP",
    "REMOVE_IP",
    "DELETE_IP",
    "DELETE_DEVICE",
)
Row = list[float]


@contextmanager
def manager_on(there: Cloud) -> Iterator[tuple[PoolManager, NovaCloud]]:
    """A manager that has found the cloud already, as a worker has."""
    driver = there.driver()
    settings = PoolSettings(long_timeout=86400.0)
    with closing(driver), PoolManager(driver, settings) as manager:
        driver.check(Deadline(30.0))
        yield manager, driver


def by_size(size: int) -> Row:
    """The calls of a job of each kind in a pool so big, and a list's CPU."""
    with cloud() as there, manager_on(there) as (manager, driver):
        pool = manager.settings.pool
        for number in range(size):
            mark = Mark.for_job(pool, Job.by_hand()).handed_over()
            driver.create_device(f"libra-{number:036}", mark, Deadline(30.0))
        costs = undisturbed(partial(costs_of_list, there, driver))
        return [*one_of_each(there, manager), *costs]


def one_of_each(there: Cloud, manager: PoolManager) -> Row:
    """The calls of one job of each kind."""
    fields: dict[str, str] = {}
    calls: Row = []
    for action in KINDS:
        before = there.counts().total()
        answer = manager.run({"action": action, **fields}, Job.by_hand())
        assert answer["response"] == "PASS", answer
        fields |= {key: answer[key] for key in ("name", "ip") if key in answer}
        calls.append(there.counts().total() - before)
    return calls


def costs_of_list(there: Cloud, driver: NovaCloud) -> Row:
    """Milliseconds of CPU of a list: from its bytes on, of that reading it,
    reading it by Python's own module, and the whole with HTTP."""
    pages = bytes_of_list(there)
    call = Call(
        *("GET", "compute", "/servers/detail"), expects="servers", form=_Listed
    )
    servers = driver._servers

    def read() -> None:
        for page in pages:
            for server in parsed(call, page)["servers"]:
                servers._device(server)

    def read_json() -> None:
        for page in pages:
            parsed(call, page)

    def read_by_json() -> None:
        for page in pages:
            json.loads(page)

    def ask() -> None:
        driver.list_devices(Deadline(60.0))

    return interleaved([read, read_json, read_by_json, ask])


def bytes_of_list(there: Cloud) -> list[bytes]:
    """The pages of the list of all servers."""
    pages = []
    path: str | None = "/servers/detail"
    with openstack.connect(
        auth=dict(there.auth), load_yaml_config=False, load_envvars=False
    ) as connection:
        while path is not None:
            answer = connection.compute.get(path, microversion="2.79")
            pages.append(answer.content)
            links = answer.json().get("servers_links", [])
            path = links[0]["href"] if links else None
    return pages


def interleaved(works: Sequence[Callable[[], None]]) -> Row:
    """Milliseconds of CPU of this thread that each takes, medians."""
    took: list[Row] = [[] for _work in works]
    for _round in range(LISTS):
        for each, work in zip(took, works, strict=True):
            started = time.thread_time()
            work()
            each.append(1000 * (time.thread_time() - started))
    return [statistics.median(each) for each in took]


def by_builds(builds: int) -> Row:
    """Calls a minute, and CPU, while so many builds wait."""
    with cloud() as there, manager_on(there) as (manager, _driver):
        there.fault(
            method="POST", path="/servers", times=None, fate={"stuck": True}
        )
        for _build in range(builds):
            manager.submit({"action": "BUILD_DEVICE"}, Job.by_hand())
        while there.counts()["compute POST 202"] < builds:
            time.sleep(0.2)
        time.sleep(SECONDS / 2)
        found = undisturbed(partial(while_they_wait, there))
        # With the cloud gone there is nothing to be cleared up.
        there.fault(method="DELETE", service="compute", times=None, status=404)
        manager.stop()
    return found


def while_they_wait(there: Cloud) -> Row:
    """Calls a minute, and CPU, of this process."""
    before = there.counts().total()
    cpu, started = time.process_time(), time.monotonic()
    time.sleep(SECONDS)
    cpu, took = time.process_time() - cpu, time.monotonic() - started
    calls = there.counts().total() - before
    return [60 * calls / took, 100 * cpu / took]


def show(
    what: str, columns: Sequence[str], rows: dict[int, list[Row]]
) -> None:
    """Print the medians of the rounds."""
    widths = [max(len(column), 7) + 2 for column in columns]
    print(
        f"{what:<9}"
        + "".join(f"{c:>{w}}" for c, w in zip(columns, widths, strict=True))
    )
    for number, rounds in rows.items():
        medians = map(statistics.median, zip(*rounds, strict=True))
        cells = zip(medians, widths, strict=True)
        print(f"{number:<9}" + "".join(f"{m:>{w}.1f}" for m, w in cells))


def measured(
    measure: Callable[[int], Row], numbers: str, rounds: int
) -> dict[int, list[Row]]:
    """The rows of some rounds, in which the numbers take turns."""
    found: dict[int, list[Row]] = {int(n): [] for n in numbers.split(",")}
    for _round in range(rounds):
        for number, rows in found.items():
            rows.append(measure(number))
    return found


def main() -> None:
    """Measure both and print."""
    logging.disable()
    given = dict(enumerate(sys.argv[1:]))
    rounds = int(given.get(2, "3"))
    sizes = measured(by_size, given.get(0, "10,100,1000,3000"), rounds)
    lists = ("list ms", "reading", "by json", "with HTTP")
    show("servers", (*KINDS, *lists), sizes)
    print()
    builds = measured(by_builds, given.get(1, "10,100,1000,3000"), rounds)
    show("waiting", ("calls/min", "CPU %"), builds)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
