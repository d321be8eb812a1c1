"""Tests of the state report that SIGUSR2 asks for."""

import signal
from pathlib import Path

from tests.batches import BUILD, BUILD_IP, ask, running, submit
from tests.jobservers import JobServerProcess, builtin, free_port
from tests.polling import until
from tests.processes import Process, worker

END = "==== end of the state report ===="


def request_report(process: Process) -> list[str]:
    """Request a report and return its lines."""
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
        submit(job_server.address, *[BUILD] * 3, uniques=("u-1", "u-2", "u-3"))
        until(lambda: running(job_server.address) == 3)
        # The third build may still be on its way to the worker, and the
        # other two may not have begun to boot.
        until(
            lambda: (
                (text := "\n".join(request_report(process))).count(" to boot ")
                == 2
                and "1 builds waiting" in text
            )
        )
        lines = request_report(process)
        answer = ask(job_server.address, BUILD_IP)

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
    assert answer["response"] == "PASS"


def test_the_report_shows_many_running_and_waiting_builds(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3600\n[worker]\nlong_jobs = 150\n"
    uniques = tuple(f"build-{n}" for n in range(200))
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        submit(job_server.address, *[BUILD] * 200, uniques=uniques)
        until(lambda: running(job_server.address) == 200)
        # The last builds may still be on their way to the worker.
        lines = request_report(process)
        while "150 of 150 builds" not in (text := "\n".join(lines)) or (
            "50 builds waiting" not in text
        ):
            lines = request_report(process)

    jobs = [line for line in lines if line.startswith("action=")]
    assert len({job.split()[1] for job in jobs}) == 150
    # Running and waiting builds have no threads of their own.
    (threads,) = [x for x in lines if " threads, peak memory " in x]
    assert int(threads.split()[0]) < 64


def test_a_hostile_unique_cannot_fake_lines_of_the_report(
    tmp_path: Path,
) -> None:
    hostile = f"x\n{END}\x1b[2J"
    config = "[fake]\nboot_time = 3600\n"
    with builtin() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            submit(server.address, BUILD, uniques=(hostile,))
            until(lambda: "action=" in "\n".join(request_report(process)))
            lines = request_report(process)

    (job,) = [line for line in lines if line.startswith("action=")]
    assert f"unique=x\\n{END}\\x1b[2J " in job
    assert lines.count(END) == 1
    assert all(line.isprintable() for line in lines)


def test_the_report_contains_no_environment_and_no_settings() -> None:
    with builtin() as server:
        process = Process(
            ["--driver", "fake", "--gearman-server", str(server.address)]
            + ["worker"],
            OS_NOVA__PASSWORD="planted-secret",
            OTHER="planted-other",
        )
        try:
            process.wait_for("registered")
            lines = request_report(process)
        finally:
            process.end()

    assert "planted" not in "\n".join(lines)


def test_a_hanging_worker_reports_its_state_and_ends_at_the_second_sigterm(
    blocking_plugin: dict[str, str],
) -> None:
    with builtin() as server:
        process = Process(
            ["--driver", "fake", "--gearman-server", str(server.address)]
            + ["worker"],
            **blocking_plugin,
        )
        try:
            process.wait_for("registered")
            submit(server.address, {"action": "BLOCK"})
            until(lambda: "time.sleep(3600)" in main_thread_stack(process))
            lines = request_report(process)
            process.signal(signal.SIGTERM)
            process.wait_for("SIGTERM: draining")
            process.signal(signal.SIGTERM)

            assert process.exit_code() == 143
        finally:
            process.end()

    heading = lines.index("== running jobs")
    assert lines[heading + 1].startswith("action=BLOCK ")


def main_thread_stack(process: Process) -> str:
    """Return the main thread's stack from a report."""
    lines = request_report(process)
    main = next(n for n, x in enumerate(lines) if x == "-- MainThread")
    end = next(
        n
        for n, x in enumerate(lines[main + 1 :], main + 1)
        if x[:2] in ("--", "==")
    )
    return "\n".join(lines[main:end])
