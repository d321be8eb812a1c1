"""SIGUSR2: a report of what the worker is doing."""

import os
import signal
from pathlib import Path

import pytest

from tests import environments
from tests.asking import asked, running
from tests.jobservers import JobServerProcess, builtin, free_port
from tests.polling import until
from tests.processes import Process, worker

BUILD = {"action": "BUILD_DEVICE"}
BUILD_IP = {"action": "BUILD_IP"}
END = "==== end of the state report ===="


def report(process: Process) -> list[str]:
    """Ask for a report, and the lines of it."""
    before = len(process.lines)
    process.signal(signal.SIGUSR2)
    until(lambda: f"{END}\n" in process.lines[before:])
    lines = [line.rstrip("\n") for line in process.lines[before:]]
    begin = next(n for n, x in enumerate(lines) if "= state report " in x)
    return lines[begin : lines.index(END) + 1]


def test_the_report_shows_job_servers_slots_jobs_and_threads(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    good = str(job_server.address)
    config = "[fake]\nboot_time = 3600\n[worker]\nlong_jobs = 2\n"
    with worker([good, dead], config, tmp_path) as process:
        process.wait_for("registered")
        asked(job_server.address, *[BUILD] * 3, uniques=("u-1", "u-2", "u-3"))
        until(lambda: running(job_server.address) == 3)
        # The last may still be on its way, and the others before their boot.
        until(
            lambda: (
                (text := "\n".join(report(process))).count(" to boot ") == 2
                and "1 builds waiting" in text
            )
        )
        lines = report(process)
        (answer,) = asked(job_server.address, BUILD_IP)()

    text = "\n".join(lines)
    assert f", pid {process.pid}\n" in text
    assert (
        "\n2 of 2 builds, 0 of 50 short jobs running, 1 builds waiting, "
        "1 of 2 job servers\n"
    ) in text
    registered = "ok: job servers: registered with 1 of 2; "
    assert f"\n{registered}{dead}: " in text
    jobs = [line for line in lines if line.startswith("action=")]
    assert sorted(job.split()[1] for job in jobs) == [
        "unique=u-1",
        "unique=u-2",
    ]
    assert all(f"server={good} " in job for job in jobs)
    assert all(" doing=waiting for device " in job for job in jobs)
    for thread in ("MainThread", "poolmgr-report"):
        assert f"\n-- {thread}\n" in text
    # The work goes on.
    assert answer["response"] == "PASS"


def test_the_report_shows_many_running_and_waiting_builds(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3600\n[worker]\nlong_jobs = 150\n"
    uniques = tuple(f"build-{n}" for n in range(200))
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        asked(job_server.address, *[BUILD] * 200, uniques=uniques)
        until(lambda: running(job_server.address) == 200)
        # The last may still be on their way to the worker.
        lines = report(process)
        while "50 builds waiting" not in "".join(lines):
            lines = report(process)

    jobs = [line for line in lines if line.startswith("action=")]
    assert len({job.split()[1] for job in jobs}) == 150
    # A job that waits has no thread.
    (threads,) = [x for x in lines if " threads, peak memory " in x]
    assert int(threads.split()[0]) < 64


def test_names_from_outside_do_not_break_the_lines_of_the_report(
    tmp_path: Path,
) -> None:
    hostile = f"x\n{END}\x1b[2J"
    config = "[fake]\nboot_time = 3600\n"
    with builtin() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            asked(server.address, BUILD, uniques=(hostile,))
            until(lambda: running(server.address) == 1)
            lines = report(process)

    (job,) = [line for line in lines if line.startswith("action=")]
    assert f"unique=x\\n{END}\\x1b[2J " in job
    assert lines.count(END) == 1
    assert all(line.isprintable() for line in lines)


def test_the_report_has_no_environment_and_no_settings() -> None:
    with builtin() as server:
        process = Process(
            ["--driver", "fake", "--gearman-server", str(server.address)]
            + ["worker"],
            OS_NOVA__PASSWORD="planted-secret",
            OTHER="planted-other",
        )
        try:
            process.wait_for("registered")
            lines = report(process)
        finally:
            process.end()

    assert "planted" not in "\n".join(lines)


STUCK = """
    import time
    from poolmgr.actions.base import Action, NoFields

    class Stick(Action):
        \"\"\"Hold up the event loop for ever.\"\"\"

        takes = NoFields

        async def run(self, request, context):
            time.sleep(3600)
"""


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that makes a worker hang."""
    return environments.install_beside(
        tmp_path_factory.mktemp("stuck"),
        "poolmgr-stuck",
        STUCK,
        poolmgr__actions="STICK = poolmgr_stuck:Stick",
    )


def test_it_comes_out_of_a_worker_that_hangs_and_signals_end_that(
    stuck: Path,
) -> None:
    with builtin() as server:
        process = Process(
            ["--driver", "fake", "--gearman-server", str(server.address)]
            + ["worker"],
            PYTHONPATH=os.pathsep.join(
                [str(stuck), os.environ.get("PYTHONPATH", "")]
            ),
        )
        try:
            process.wait_for("registered")
            asked(server.address, {"action": "STICK"})
            until(lambda: "time.sleep(3600)" in of_main_thread(process))
            lines = report(process)
            process.signal(signal.SIGTERM)
            process.wait_for("SIGTERM: draining")
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 143
        finally:
            process.end()

    at = lines.index("== running jobs")
    assert lines[at + 1].startswith("action=STICK ")


def of_main_thread(process: Process) -> str:
    """The main thread's stack, as the report has it."""
    lines = report(process)
    main = next(n for n, x in enumerate(lines) if x == "-- MainThread")
    end = next(
        n
        for n, x in enumerate(lines[main + 1 :], main + 1)
        if x[:2] in ("--", "==")
    )
    return "\n".join(lines[main:end])
