"""What a worker's process does for itself, and what cannot hold up its end."""

import os
import signal
from pathlib import Path

import pytest

from tests.asking import asked
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.processes import worker

PROBE = '''
    import ctypes, gc, re, tempfile, threading
    from poolmgr.actions.base import Action, NoFields

    class Probe(Action):
        """Tell how the process uses memory."""

        takes = NoFields
        answers = ("frozen", "arenas")

        def run(self, request, context):
            meeting = threading.Barrier(16)

            def allocate():
                meeting.wait()
                bytearray(100_000)
                meeting.wait()

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

STUBBORN = '''
    import asyncio, time
    from poolmgr.actions.base import Action, NoFields

    class Deaf(Action):
        """Go on whatever happens."""

        takes = NoFields
        cleanup_time = 0.1

        async def run(self, request, context):
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass

    class Hanging(Action):
        """Never return."""

        takes = NoFields
        cleanup_time = 0.1

        def run(self, request, context):
            time.sleep(3600)
'''


def beside(folder: Path, source: str, actions: str) -> dict[str, str]:
    """The environment of a worker with a plugin."""
    path = plugin_beside(folder, source, poolmgr__actions=actions)
    paths = [str(path), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def test_memory_is_neither_searched_nor_kept_without_need(
    tmp_path: Path,
) -> None:
    environment = beside(tmp_path, PROBE, "PROBE = stranger:Probe")
    with builtin() as server:
        # In a new interpreter, in which nothing is frozen yet.
        with worker([str(server.address)], "", None, ["env"], **environment):
            (answer,) = asked(server.address, {"action": "PROBE"})()

    # What is there at the start is not looked through at each collection.
    assert answer["frozen"] > 10_000
    # glibc would have one for each thread, eight for a processor.
    assert answer["arenas"] <= 2


@pytest.mark.parametrize("action", ["DEAF", "HANGING"])
def test_an_action_that_never_ends_holds_up_neither_others_nor_the_end(
    action: str, tmp_path: Path
) -> None:
    environment = beside(
        tmp_path,
        STUBBORN,
        "DEAF = stranger:Deaf\nHANGING = stranger:Hanging",
    )
    config = "[poolmgr]\nshort_timeout = 1\n[worker]\ndrain_timeout = 3600\n"
    with builtin() as server:
        with worker(
            [str(server.address)], config, tmp_path, **environment
        ) as process:
            stuck = asked(server.address, *[{"action": action}] * 3)
            (other,) = asked(server.address, {"action": "BUILD_IP"})()
            answers = stuck()
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 0

    assert other["response"] == "PASS"
    assert [answer["response"] for answer in answers] == ["FAIL"] * 3
    assert "Traceback" not in "".join(process.lines)
