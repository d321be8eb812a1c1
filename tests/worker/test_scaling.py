"""What the page on several workers says of them."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

from poolmgr.gearman.endpoint import Address
from tests.docs.blocks import SOURCE, blocks_of
from tests.jobservers import gearmand
from tests.matrix.batches import BUILD, BUILD_IP, batch
from tests.matrix.states import State
from tests.monitoring.promtool import promtool
from tests.polling import until
from tests.processes import Process, worker
from tests.worker.test_systemd import analyze, runnable_unit

PAGE = SOURCE / "scaling.rst"
#: Builds wait in the worker, and some run, whenever it is told to end.
LANES = "[worker]\nlong_jobs = 2\nheld_jobs = 20\n"


class Clients:
    """At each job server one that always has jobs, until it is stopped."""

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
        """Wait for some more to be answered, at each job server."""
        was = len(self.uniques)
        until(lambda: len(self.uniques) >= was + 40 or self._failed(), 60.0)

    def end(self) -> None:
        """Stop, and raise what a job has failed with."""
        self._stop.set()
        self._pool.shutdown()
        for end in self._ends:
            end.result()

    def _failed(self) -> bool:
        return any(end.done() for end in self._ends)


@contextmanager
def clients(servers: list[Address]) -> Iterator[Clients]:
    made = Clients(servers)
    try:
        yield made
    finally:
        made.end()


def test_workers_are_replaced_one_by_one_and_no_job_fails(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    config = state.config(LANES, boot_time=0.2)
    with ExitStack() as stack:
        servers = [stack.enter_context(gearmand()).address for _ in range(2)]

        def start() -> Process:
            folder = tmp_path / f"worker{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            process = stack.enter_context(
                worker([str(s) for s in servers], config, folder)
            )
            for _server in servers:
                process.wait_for("connected and registered")
            return process

        old = [start(), start()]
        with clients(servers) as asking:
            for each in old:
                asking.wait_for_more()
                start()
                each.signal(signal.SIGTERM)
                assert each.exit_code() == 0
            asking.wait_for_more()

        assert state.owned() == sorted(asking.uniques)
        assert len(state.marks()) == len(asking.uniques)


def test_gearmand_takes_the_options_that_are_named(tmp_path: Path) -> None:
    named = re.findall(r"``(--keepalive[^`]*)``", PAGE.read_text())
    assert len(named) == 4

    with gearmand(*named):
        pass  # it listens


def test_the_template_is_a_unit(tmp_path: Path) -> None:
    (own,) = blocks_of(PAGE, "systemd")
    template = tmp_path / "poolmgr-worker@.service"
    template.write_text(runnable_unit())
    folder = tmp_path / "poolmgr-worker@.service.d"
    folder.mkdir()
    drop_in = folder / "own.conf"
    drop_in.write_text(own.text)
    unit = tmp_path / "poolmgr-worker@1.service"
    unit.symlink_to(template.name)

    done = analyze("verify", "--man=no", str(unit))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # It does look at what is in the drop-in.
    drop_in.write_text(own.text.replace("RuntimeDirectory", "RuntimeFolder"))
    assert "RuntimeFolder" in analyze("verify", str(unit)).stderr


def test_the_questions_are_promql(tmp_path: Path) -> None:
    questions = [block.text for block in blocks_of(PAGE, "promql")]
    assert len(questions) == 2
    rules = "".join(
        f"  - record: q:{number}\n    expr: {' '.join(each.split())}\n"
        for number, each in enumerate(questions)
    )
    path = tmp_path / "rules.yml"
    path.write_text(f"groups:\n- name: page\n  rules:\n{rules}")

    assert "2 rules found" in promtool("check", "rules", str(path))
