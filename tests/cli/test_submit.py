"""Tests of ``poolmgr submit``."""

import asyncio
import json
import os

import pytest

from poolmgr.gearman.endpoint import Address
from tests.batches import FUNCTION, ask
from tests.gearman_workers import running
from tests.jobservers import JobServerProcess, builtin
from tests.peers import black_hole, is_silent, peer
from tests.processes import poolmgr, worker
from tests.terminals import terminal


def test_submit_prints_the_answer(job_server: JobServerProcess) -> None:
    server = ["--gearman-server", str(job_server.address)]
    with worker([str(job_server.address)]):
        passed = poolmgr(*server, "submit", '{"action": "BUILD_IP", "x": [1]}')
        failed = poolmgr(*server, "submit", "-", stdin='{"action": "NO"}')

    assert passed.returncode == 0
    assert json.loads(passed.stdout)["x"] == [1]
    assert json.loads(passed.stdout)["response"] == "PASS"
    assert failed.returncode == 1
    assert json.loads(failed.stdout) == {"action": "NO", "response": "FAIL"}
    assert failed.stderr.count("\n") == 1


def test_bytes_that_are_no_utf_8_are_submitted_unchanged() -> None:
    message = os.fsdecode(b'\xff {"action": "BUILD_IP"}')

    async def scenario(address: Address) -> bytes:
        async with running(address, function=FUNCTION) as taker:
            await asyncio.to_thread(
                poolmgr,
                *("--gearman-server", str(address), "submit", "--no-wait"),
                message,
            )
            return (await taker.job()).payload

    with builtin() as server:
        payload = asyncio.run(scenario(server.address))

    assert payload == os.fsencode(message)


def test_a_fail_without_the_requested_column_is_reported() -> None:
    with builtin() as server, worker([str(server.address)]):
        done = poolmgr(
            *("--gearman-server", str(server.address), "submit"),
            *("-c", "name", '{"action": "NONE"}'),
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("poolmgr: job failed; see the worker's log")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_an_answer_without_the_requested_column_is_printed_in_full(
    job_server: JobServerProcess, wait: str
) -> None:
    with worker([str(job_server.address)]):
        done = poolmgr(
            *("--gearman-server", str(job_server.address), "submit", wait),
            *("-c", "nmae", '{"action": "BUILD_IP"}'),
        )

    assert done.returncode == 2
    assert json.loads(done.stdout).keys() & {"ip", "handle"}
    assert done.stderr == (
        "poolmgr: the answer has no column 'nmae' and is printed in full\n"
    )


def test_a_column_of_the_answer_may_be_in_capitals(
    job_server: JobServerProcess,
) -> None:
    with worker([str(job_server.address)]):
        done = poolmgr(
            *("--gearman-server", str(job_server.address), "submit"),
            *("-c", "IP", '{"action": "BUILD_IP"}'),
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert [*json.loads(done.stdout)] == ["ip"]


@pytest.mark.parametrize("option", ["--no-wait", "--background"])
def test_submit_prints_the_handle_without_waiting(
    job_server: JobServerProcess, option: str
) -> None:
    server = ["--gearman-server", str(job_server.address)]

    done = poolmgr(*server, "submit", option, '{"action": "BUILD_IP"}')

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["handle"].startswith("H:")
    queue = poolmgr(*server, "status", "-f", "json")
    assert json.loads(queue.stdout)[0]["Waiting"] == 1


# -- the timeout ------------------------------------------------------------


def was_dropped(server: Address) -> bool:
    """Return whether the queue is empty: only a new job runs."""
    with worker([str(server)]) as process:
        ask(server)
    return sum("outcome=" in line for line in process.lines) == 1


def test_a_queued_job_is_dropped_after_the_timeout(
    job_server: JobServerProcess,
) -> None:
    address = str(job_server.address)
    done = poolmgr(
        *("--gearman-server", address),
        *("submit", "--timeout", "3", '{"action": "BUILD_IP"}'),
    )

    assert done.returncode == 1
    assert "no answer within 3 s; it continues if it runs" in done.stderr
    assert was_dropped(job_server.address)


def test_a_queued_job_is_dropped_after_ctrl_c(
    job_server: JobServerProcess,
) -> None:
    address = str(job_server.address)
    args = ["--gearman-server", address, "submit", "{}"]
    with terminal(*args, columns=120) as shown:
        shown.wait_for(lambda: "no answer yet to H:" in shown.text)
        shown.type("\x03")
        assert shown.exit_code() == 130
        assert "continues if it runs, and is dropped if" in shown.text

    assert was_dropped(job_server.address)


def test_a_running_job_continues_after_the_timeout(
    job_server: JobServerProcess,
) -> None:
    address = str(job_server.address)
    with worker([address], OS_FAKE__BOOT_TIME="4") as process:
        process.wait_for("registered")
        poolmgr(
            *("--gearman-server", address),
            *("submit", "--timeout", "2", '{"action": "BUILD_DEVICE"}'),
        )
        process.wait_for("outcome=PASS")


def test_the_timeout_includes_a_silent_server() -> None:
    with peer(is_silent) as server:
        done = poolmgr(
            *("--gearman-server", str(server.address)),
            *("submit", "--timeout", "0.5", "{}"),
        )

    assert done.returncode == 1
    assert str(server.address) in done.stderr
    assert "0.5 s" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_timeout_includes_an_unreachable_server() -> None:
    with black_hole() as hole:
        done = poolmgr(
            *("--gearman-server", str(hole), "submit"),
            *("--timeout", "0.5", "{}"),
        )

    assert done.returncode == 1
    assert "0.5 s" in done.stderr


def test_the_next_server_is_tried_within_the_timeout() -> None:
    with black_hole() as hole, builtin() as server:
        with worker([str(server.address)]) as process:
            process.wait_for("registered")
            done = poolmgr(
                *("--gearman-server", str(hole)),
                *("--gearman-server", str(server.address)),
                *("submit", "--timeout", "10", '{"action": "BUILD_IP"}'),
            )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["response"] == "PASS"


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "soon"])
def test_an_invalid_timeout_is_refused(text: str) -> None:
    done = poolmgr("submit", "--timeout", text, "{}")

    assert done.returncode == 2
    assert "--timeout: must be more than 0" in done.stderr


@pytest.mark.parametrize(
    ("unique", "function", "code", "words"),
    [
        ("é" * 32, "f", 2, "has 64 bytes; a job server takes at most 63"),
        ("u", "f f", 1, "FUNCTION: must be a name"),
    ],
)
def test_a_job_that_cannot_be_sent_is_refused_without_connecting(
    unique: str, function: str, code: int, words: str
) -> None:
    done = poolmgr(
        *("--gearman-server", "127.0.0.1:1", "submit"),
        *("--unique", unique, "{}"),
        OS_WORKER__FUNCTION=function,
    )

    assert done.returncode == code
    assert words in done.stderr
