"""Tests of the worker process: memory use, and actions that never end."""

import signal
from pathlib import Path

import pytest

from tests.batches import ask, submit
from tests.environments import plugin_beside, visible
from tests.jobservers import builtin
from tests.processes import worker

PROBE = '''
    import ctypes, gc, re, tempfile, threading
    from poolmgr.actions.base import Action, NoFields

    class Probe(Action):
        """Return how the process uses memory."""

        takes = NoFields
        answers = ("frozen", "arenas")

        def run(self, request, context):
            barrier = threading.Barrier(16)

            def allocate():
                barrier.wait()
                bytearray(100_000)
                barrier.wait()

            threads = [threading.Thread(target=allocate) for _ in range(16)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            return {"frozen": gc.get_freeze_count(), "arenas": arenas()}

    def arenas():
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        with tempfile.NamedTemporaryFile() as file:
            stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
            libc.malloc_info(0, stream)
            libc.fclose(stream)
            return len(re.findall(b"<heap ", file.read()))
'''

ENDLESS = '''
    import asyncio, time
    from poolmgr.actions.base import Action, NoFields

    class IgnoresCancellation(Action):
        """Continue after every cancellation."""

        takes = NoFields
        cleanup_time = 0.1

        async def run(self, request, context):
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass

    class BlocksItsThread(Action):
        """Block its thread."""

        takes = NoFields
        cleanup_time = 0.1

        def run(self, request, context):
            time.sleep(3600)
'''


def install(folder: Path, source: str, actions: str) -> dict[str, str]:
    """Install a plugin and return the environment of a worker with it."""
    package = plugin_beside(folder, source, poolmgr__actions=actions)
    return {**visible(package), "XDG_CACHE_HOME": str(folder / "cache")}


def test_startup_objects_are_frozen_and_malloc_arenas_are_few(
    tmp_path: Path,
) -> None:
    environment = install(tmp_path, PROBE, "PROBE = stranger:Probe")
    with builtin() as server:
        # "env" starts a new interpreter, in which nothing is frozen yet.
        with worker([str(server.address)], "", None, ["env"], **environment):
            answer = ask(server.address, {"action": "PROBE"})

    # The garbage collector skips the objects of the start.
    assert answer["frozen"] > 10_000
    # By default, glibc has one per thread, up to eight per processor.
    assert answer["arenas"] <= 2


@pytest.mark.parametrize("action", ["IGNORES", "BLOCKS"])
def test_an_endless_action_delays_neither_other_jobs_nor_the_workers_end(
    action: str, tmp_path: Path
) -> None:
    environment = install(
        tmp_path,
        ENDLESS,
        "IGNORES = stranger:IgnoresCancellation\n"
        "BLOCKS = stranger:BlocksItsThread",
    )
    config = "[poolmgr]\nshort_timeout = 1\n[worker]\ndrain_timeout = 3600\n"
    with builtin() as server:
        with worker(
            [str(server.address)], config, tmp_path, **environment
        ) as process:
            endless_jobs = submit(server.address, *[{"action": action}] * 3)
            other = ask(server.address, {"action": "BUILD_IP"})
            answers = endless_jobs()
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 0

    assert other["response"] == "PASS"
    assert [answer["response"] for answer in answers] == ["FAIL"] * 3
    assert "Traceback" not in "".join(process.lines)
