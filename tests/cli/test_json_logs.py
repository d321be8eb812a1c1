"""Tests of the log in JSON, of request ids and of escaping."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from poolmgr.testing.openstack import LoopbackCloud
from tests.batches import ask, submit
from tests.clouds import nova_group
from tests.jobservers import JobServerProcess, builtin
from tests.processes import Process, poolmgr, worker

REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
COMMON = {"time", "level", "logger", "message"}


def decode(lines: list[str]) -> list[dict[str, Any]]:
    """Decode lines; each must be an object with the common fields."""
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.keys() >= COMMON
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]
        )
    return records


def job_ends(lines: list[str]) -> list[dict[str, Any]]:
    """Return the records about the end of a job."""
    return [record for record in decode(lines) if "outcome" in record]


def test_the_end_of_a_job_is_logged_with_its_fields(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[worker]\nlog_format = json\n"
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        messages = [
            {"action": "build_ip"},
            {"action": "DELETE_DEVICE", "name": "no-such"},
        ]
        submit(job_server.address, *messages, uniques=("u-1", "u\n2"))()
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0

    records = {end["unique"]: end for end in job_ends(process.lines)}
    built, deleted = records["u-1"], records["u\\n2"]
    assert built["action"] == "build_ip"
    assert (built["outcome"], built["level"]) == ("PASS", "INFO")
    assert built["ip"].startswith("198.18.")
    assert built["server"] == str(job_server.address)
    assert built["handle"]
    assert built["duration"] >= 0
    assert REQUEST_ID.fullmatch(built["request_id"])
    assert "error" not in built
    assert (deleted["outcome"], deleted["level"]) == ("FAIL", "WARNING")
    assert deleted["name"] == "no-such"
    assert deleted["error"] == "not_found"
    assert deleted["retryable"] is False
    assert "no-such" in deleted["reason"]


def test_only_log_lines_of_a_job_have_its_request_id(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud:
        cloud.set_quota(floating_ips=0)
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        config = tmp_path / "worker.conf"
        config.write_text(
            "[poolmgr]\nquota_wait = 0.3\n" + nova_group("loopback")
        )
        with builtin() as server:
            process = Process(
                ["--config-file", str(config), "--log-format", "json"]
                + ["--gearman-server", str(server.address), "worker"],
                OS_CLIENT_CONFIG_FILE=str(clouds),
            )
            try:
                process.wait_for("registered")
                ask(server.address, {"action": "BUILD_IP"})
                process.signal(signal.SIGTERM)
                assert process.exit_code() == 0
            finally:
                process.end()

    (end,) = job_ends(process.lines)
    records = decode(process.lines)
    messages = [
        record["message"]
        for record in records
        if record.get("request_id") == end["request_id"]
    ]
    assert end["error"] == "quota_exceeded"
    assert any("circuit open" in message for message in messages)
    for record in records:
        if re.search("registered|drain", record["message"]):
            assert "request_id" not in record


def test_calls_to_the_cloud_have_the_jobs_request_id_in_a_text_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with LoopbackCloud() as cloud:
        clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
        done = poolmgr(
            *("--debug", "--log-file", str(log), "--os-cloud", "loopback"),
            "build-ip",
            OS_CLIENT_CONFIG_FILE=str(clouds),
            OS_NOVA__FLOATING_NETWORK="public",
        )

    assert done.returncode == 0, done.stderr
    (end,) = (x for x in log.read_text().splitlines() if " outcome=" in x)
    match = re.search(r" request=(\S+) ip=\S+$", end)
    assert match is not None
    (post,) = (x for x in done.stderr.splitlines() if "POST /floatingips" in x)
    assert f": [{match[1]}] POST " in post


def test_hostile_text_stays_within_its_field(tmp_path: Path) -> None:
    hostile = '\n{"outcome": "PASS"}\x1b[2J\u2028"'
    config = "[worker]\nlog_format = json\n"
    with builtin() as server:
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            submit(
                server.address,
                {"action": hostile, "name": hostile},
                uniques=(hostile,),
            )()
            process.signal(signal.SIGTERM)
            process.exit_code()

    (end,) = job_ends(process.lines)
    assert (end["outcome"], end["error"]) == ("FAIL", "unknown_action")
    for value in end.values():
        assert not isinstance(value, str) or value.isprintable()


def test_an_error_of_a_command_is_a_json_object() -> None:
    done = poolmgr(
        *("--log-format", "json", "--driver", "fake"),
        *("delete-ip", "192.0.2.1"),
    )

    assert done.returncode == 1
    (record,) = decode(done.stderr.splitlines())
    assert "192.0.2.1" in record["message"]
    assert record["level"] == "ERROR"


def test_a_traceback_is_one_field(tmp_path: Path) -> None:
    script = (
        "import logging\n"
        "from poolmgr.cli.app import main\n"
        "main(['--log-format', 'json', 'help'])\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    logging.exception('oh')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    (record,) = decode(done.stderr.splitlines())
    assert record["message"] == "oh"
    assert record["exception"].startswith("Traceback ")
    assert record["exception"].endswith("ZeroDivisionError: division by zero")
