"""Tests of a worker's open files, threads and memory under long load.

``python -m tests.soak`` runs the same load for any time.
"""

from pathlib import Path

import pytest

from tests import environments
from tests.soak import Gauge, Load, forget, soaking

pytestmark = [pytest.mark.timeout(1200), pytest.mark.endurance]

#: The allowed growth in open files, threads, and KiB of memory. Connections to
#: the cloud stay open for reuse. A job's objects take several KiB: a leak of
#: one job in ten would exceed the memory.
FILES, THREADS, MEMORY = 10, 4, 4096


def growth(
    cloud: str, folder: Path, rounds: int, *more: bytes, **environment: str
) -> tuple[Gauge, int]:
    """Return a worker's growth after a warm-up, and the number of jobs.

    :param more: payloads of additional jobs in each round after the warm-up
    """
    with soaking(cloud, folder, **environment) as (server, process, url):
        load = Load(server.address)
        # Caches and pools reach their final size in the warm-up.
        load.run(rounds)
        load.lose(server)
        load.run(rounds)
        before, jobs = Gauge.at_rest(process.pid), load.jobs
        for _cycle in range(4):
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
def test_open_files_threads_and_memory_of_a_worker_do_not_grow(
    cloud: str, rounds: int, tmp_path: Path
) -> None:
    grown, jobs = growth(cloud, tmp_path, rounds)

    assert jobs >= 130 * rounds
    assert grown.files <= FILES, grown
    assert grown.threads <= THREADS, grown
    assert grown.memory <= MEMORY, grown


LEAKING_PLUGIN = """
    import os, threading
    from dataclasses import dataclass, field
    from poolmgr.actions.base import Action, text

    LEAKED = []

    @dataclass(frozen=True)
    class Fields:
        kind: str = field(metadata=text("What to leak."))

    class Leak(Action):
        \"\"\"Leak something in every job.\"\"\"

        takes = Fields

        def run(self, request, context):
            if request.kind == "file":
                LEAKED.append(os.open("/dev/null", os.O_RDONLY))
            elif request.kind == "thread":
                wait = threading.Event().wait
                threading.Thread(target=wait, daemon=True).start()
            else:
                LEAKED.append(context)
            return {}
"""


def test_the_soak_test_detects_leaks(tmp_path: Path) -> None:
    package = environments.install_beside(
        tmp_path,
        "poolmgr-leak",
        LEAKING_PLUGIN,
        poolmgr__actions="LEAK = poolmgr_leak:Leak",
    )
    leaks = [b'{"action": "LEAK", "kind": "context"}'] * 20
    leaks += [b'{"action": "LEAK", "kind": "file"}']
    leaks += [b'{"action": "LEAK", "kind": "thread"}']

    grown, jobs = growth(
        "fake",
        tmp_path,
        50,
        *leaks,
        **environments.visible(package),
    )

    # Every fourth job leaked its context.
    assert jobs > 8000
    assert grown.memory > 2 * MEMORY, grown
    assert grown.files > FILES, grown
    assert grown.threads > THREADS, grown
