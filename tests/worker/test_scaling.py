"""Tests of the documentation page on several workers."""

import itertools
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

from poolmgr.gearman.endpoint import Address
from tests.batches import BUILD, BUILD_IP, batch
from tests.docs.blocks import SOURCE, blocks_of
from tests.jobservers import gearmand
from tests.monitoring.promtool import promtool
from tests.polling import until
from tests.processes import Process, worker
from tests.states import State
from tests.worker.test_systemd import analyze, runnable_unit

PAGE = SOURCE / "scaling.rst"
#: Some builds run and others are prefetched whenever a worker is ended.
SLOTS = "[worker]\nlong_jobs = 2\nheld_jobs = 20\n"


class Clients:
    """Clients that keep submitting jobs, one at each job server."""

    def __init__(self, servers: list[Address]) -> None:
        self.uniques: list[str] = []
        self._stop = Event()
        self._pool = ThreadPoolExecutor(len(servers))
        self._ends = [self._pool.submit(self._ask, s) for s in servers]

    def _ask(self, server: Address) -> None:
        while not self._stop.is_set():
            with batch(server, [BUILD] * 5 + [BUILD_IP] * 5) as jobs:
                jobs.passes()
            self.uniques += jobs.uniques

    def wait_for_more(self) -> None:
        """Wait until some more jobs have been answered."""
        before = len(self.uniques)
        until(
            lambda: len(self.uniques) >= before + 40 or self._failed(), 120.0
        )

    def end(self) -> None:
        """Stop, and raise the error of a failed client."""
        self._stop.set()
        self._pool.shutdown()
        for end in self._ends:
            end.result()

    def _failed(self) -> bool:
        return any(end.done() for end in self._ends)


@contextmanager
def clients(servers: list[Address]) -> Iterator[Clients]:
    """Run clients while the block runs."""
    running_clients = Clients(servers)
    try:
        yield running_clients
    finally:
        running_clients.end()


def test_no_job_fails_while_workers_are_replaced_one_by_one(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(SLOTS, boot_time=0.2)
    with ExitStack() as stack:
        servers = [stack.enter_context(gearmand()).address for _ in range(2)]
        numbers = itertools.count(1)

        def start() -> Process:
            folder = tmp_path / f"worker{next(numbers)}"
            folder.mkdir()
            process = stack.enter_context(
                worker([str(s) for s in servers], config, folder)
            )
            for _server in servers:
                process.wait_for("connected and registered")
            return process

        old = [start(), start()]
        with clients(servers) as load:
            for process in old:
                load.wait_for_more()
                start()
                process.signal(signal.SIGTERM)
                assert process.exit_code() == 0
            load.wait_for_more()

        assert state.owned() == sorted(load.uniques)
        assert len(state.marks()) == len(load.uniques)


def test_gearmand_accepts_the_documented_keepalive_options() -> None:
    options = re.findall(r"``(--keepalive[^`]*)``", PAGE.read_text())
    assert len(options) == 4

    with gearmand(*options):
        pass  # It has started to listen.


def test_systemd_accepts_the_documented_template_unit(tmp_path: Path) -> None:
    (block,) = blocks_of(PAGE, "systemd")
    template = tmp_path / "poolmgr-worker@.service"
    template.write_text(runnable_unit())
    folder = tmp_path / "poolmgr-worker@.service.d"
    folder.mkdir()
    drop_in = folder / "own.conf"
    drop_in.write_text(block.text)
    unit = tmp_path / "poolmgr-worker@1.service"
    unit.symlink_to(template.name)

    done = analyze("verify", "--man=no", str(unit))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Check that systemd-analyze does read the drop-in.
    drop_in.write_text(block.text.replace("RuntimeDirectory", "RuntimeFolder"))
    assert "RuntimeFolder" in analyze("verify", str(unit)).stderr


def test_promtool_accepts_the_documented_queries(tmp_path: Path) -> None:
    queries = [block.text for block in blocks_of(PAGE, "promql")]
    assert queries
    rules = "".join(
        f"  - record: q:{number}\n    expr: {' '.join(query.split())}\n"
        for number, query in enumerate(queries)
    )
    path = tmp_path / "rules.yml"
    path.write_text(f"groups:\n- name: page\n  rules:\n{rules}")

    checked = promtool("check", "rules", str(path))
    assert f"{len(queries)} rules found" in checked
