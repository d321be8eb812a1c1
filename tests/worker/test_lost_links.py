"""What the log says when a link goes, and its jobs with it."""

import re
from pathlib import Path

from tests.asking import asked, running
from tests.jobservers import JobServerProcess
from tests.polling import until
from tests.processes import worker

BUILD = {"action": "BUILD_DEVICE"}


def test_many_jobs_that_are_lost_are_one_warning(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3\n[worker]\nlong_jobs = 8\n"
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("connected and registered")
        # Two of them wait for room.
        asked(job_server.address, *[BUILD] * 10)
        until(lambda: running(job_server.address) == 10)
        job_server.kill()
        process.wait_for("jobs were lost")
        told = "connection lost before its answer was sent"
        until(lambda: "".join(process.lines).count(told) == 8)

    warnings = [
        re.sub(r"^\S+ \S+ WARNING \S+ ", "", line)
        for line in map(str.rstrip, process.lines)
        if " WARNING " in line and "not reached" not in line
    ]
    server = job_server.address
    lost, why = warnings
    assert lost == (
        f"Job server {server}: 10 jobs were lost with the connection; it "
        "delivers them again if it still has them"
    )
    assert why.startswith(f"Job server {server}: lost: ")
