"""A worker stays flat: files, threads, memory, over jobs and restarts.

``python -m tests.soak`` does the same for as long as one likes.
"""

import os
from pathlib import Path

import pytest

from tests import environments
from tests.soak import Gauge, Load, forget, soaking

pytestmark = [pytest.mark.timeout(600), pytest.mark.endurance]

#: How much more of each there may be in the end. Connections to a cloud are
#: kept, as many as were in use at once. A job's own objects take several KiB:
#: were they kept of one job in ten, the memory would be more.
FILES, THREADS, MEMORY = 10, 4, 4096


def growth(
    cloud: str, folder: Path, rounds: int, *more: bytes, **environment: str
) -> tuple[Gauge, int]:
    """How much a worker grows, after it has warmed up; and the jobs it ran.

    :param more: payloads of other jobs, for each round after that
    """
    with soaking(cloud, folder, **environment) as (server, process, url):
        load = Load(server.address)
        # Once as long: what is kept for later use has its size then.
        load.run(rounds)
        load.lose(server)
        load.run(rounds)
        before, jobs = Gauge.at_rest(process.pid), load.jobs
        for _time in range(4):
            load.run(rounds // 2, *more)
            load.lose(server)
            if url is not None:
                forget(url)
        load.run(1)
        after = Gauge.at_rest(process.pid)
    grown = Gauge(
        after.files - before.files,
        after.threads - before.threads,
        after.memory - before.memory,
    )
    print(f"{load.jobs - jobs} jobs: {before} {after}")
    return grown, load.jobs - jobs


@pytest.mark.parametrize(("cloud", "rounds"), [("fake", 50), ("openstack", 6)])
def test_a_worker_stays_flat(cloud: str, rounds: int, tmp_path: Path) -> None:
    grown, jobs = growth(cloud, tmp_path, rounds)

    assert jobs >= 130 * rounds
    assert grown.files <= FILES, grown
    assert grown.threads <= THREADS, grown
    assert grown.memory <= MEMORY, grown


LEAK = """
    import os, threading
    from dataclasses import dataclass, field
    from poolmgr.actions.base import Action, text

    KEPT = []

    @dataclass(frozen=True)
    class Fields:
        what: str = field(metadata=text("What."))

    class Leak(Action):
        \"\"\"Keep something of every job.\"\"\"

        takes = Fields

        def run(self, request, context):
            if request.what == "file":
                KEPT.append(os.open("/dev/null", os.O_RDONLY))
            elif request.what == "thread":
                wait = threading.Event().wait
                threading.Thread(target=wait, daemon=True).start()
            else:
                KEPT.append(context)
            return {}
"""


def test_a_leak_would_be_seen(tmp_path: Path) -> None:
    beside = environments.install_beside(
        tmp_path,
        "poolmgr-leak",
        LEAK,
        poolmgr__actions="LEAK = poolmgr_leak:Leak",
    )
    kept = [b'{"action": "LEAK", "what": "context"}'] * 20
    kept += [b'{"action": "LEAK", "what": "file"}']
    kept += [b'{"action": "LEAK", "what": "thread"}']

    grown, jobs = growth(
        "fake",
        tmp_path,
        50,
        *kept,
        PYTHONPATH=os.pathsep.join(
            [str(beside), os.environ.get("PYTHONPATH", "")]
        ),
    )

    # A context of every fourth job was kept.
    assert jobs > 8000
    assert grown.memory > 2 * MEMORY, grown
    assert grown.files > FILES, grown
    assert grown.threads > THREADS, grown
