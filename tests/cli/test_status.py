"""Tests of ``poolmgr status``, once and with ``--watch``."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.batches import FUNCTION, queue
from tests.jobservers import JobServerProcess, builtin, free_port, gearmand
from tests.peers import is_silent, peer
from tests.polling import until
from tests.processes import TIMEOUT, poolmgr, worker
from tests.terminals import Terminal, terminal

#: Each of these characters takes two columns.
WIDE_NAME = "\u5bbd" * 30
OPEN_SCREEN, CLOSE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def servers() -> Iterator[tuple[JobServerProcess, JobServerProcess]]:
    """Yield a gearmand and a built-in job server."""
    with gearmand() as one, builtin() as two:
        yield one, two


def watching(*servers: JobServerProcess) -> list[str]:
    """Return the arguments that watch job servers."""
    args = []
    for server in servers:
        args += ["--gearman-server", str(server.address)]
    return [*args, "status", "--watch", "--interval", "0.2"]


def row_of(shown: Terminal) -> str:
    """Return the row of the function, once it is visible."""
    rows = [line for line in shown.lines if FUNCTION in line]
    return rows[0] if rows else ""


def test_status_shows_queues_and_workers(job_server: JobServerProcess) -> None:
    dead = f"127.0.0.1:{free_port()}"
    address = str(job_server.address)
    server = ["--gearman-server", address]
    queue(job_server.address, [{}] * 2)

    done = poolmgr(*server, "status", "-f", "json")
    both = poolmgr(*server, "--gearman-server", dead, "status", "-f", "json")
    with worker([address]) as process:
        process.wait_for("registered")
        workers = poolmgr(*server, "status", "--workers", "-f", "json")

    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        {
            "Server": address,
            "Function": FUNCTION,
            "Waiting": 2,
            "Running": 0,
            "Workers": 0,
        }
    ]
    assert both.returncode == 1
    assert json.loads(both.stdout) == json.loads(done.stdout)
    assert dead in both.stderr
    (row,) = json.loads(workers.stdout)
    assert row["Functions"] == FUNCTION
    assert row["Worker"].startswith("poolmgr-")
    assert str(process.pid) in row["Worker"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["-c", "Worker"],
            "poolmgr: there is no column 'worker'; choose from "
            "Server, Function, Waiting, Running, Workers",
        ),
        (
            ["--workers", "-c", "server", "-c", "waiting"],
            "poolmgr: there is no column 'waiting'; choose from "
            "Server, Address, Worker, Functions",
        ),
    ],
)
def test_a_column_of_the_other_list_is_refused(
    args: list[str], message: str
) -> None:
    done = poolmgr("status", *args)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{message}\n"


# -- status --watch ---------------------------------------------------------


def test_growing_and_shrinking_queues_are_shown(
    servers: tuple[JobServerProcess, JobServerProcess],
) -> None:
    one, two = servers
    with terminal(*watching(one, two)) as shown:
        shown.wait_for(lambda: shown.text.count("no functions") == 2)

        queue(one.address, [{}] * 7)

        row = re.compile(r"libra_pool_mgm +7 +0 +0 +\+0\.0$")
        shown.wait_for(lambda: row.search(row_of(shown)))
        assert re.search(rb"\+[1-9]\d*\.\d", shown.raw)
        with worker([str(one.address)]):
            shown.wait_for(lambda: re.search(" 0 +0 +1 ", row_of(shown)))
        assert "0 waiting, 0 running" in shown.text


def test_an_unreachable_server_is_shown_with_the_reason_until_it_returns(
    servers: tuple[JobServerProcess, JobServerProcess],
) -> None:
    one, two = servers
    with terminal(*watching(one, two)) as shown:
        shown.wait_for(lambda: shown.text.count("no functions") == 2)

        one.kill()

        down = rf"{one.address} DOWN since \d\d:\d\d:\d\d \(1s\)"
        shown.wait_for(lambda: re.search(down, shown.text))
        assert "Connection refused" in shown.text
        assert "1 of 2 down" in shown.text
        assert "no functions" in shown.text
        one.start()
        shown.wait_for(lambda: "DOWN" not in shown.text)


@pytest.mark.parametrize(
    ("end", "code"),
    [("\x03", 0), ("q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_the_terminal_is_restored_at_the_end(
    end: str | signal.Signals, code: int
) -> None:
    with builtin() as server, terminal(*watching(server)) as shown:
        shown.wait_for(lambda: str(server.address) in shown.text)
        assert OPEN_SCREEN in shown.raw
        assert shown.cursor_hidden
        assert shown.modes != shown.first_modes

        if isinstance(end, str):
            shown.type(end)
        else:
            shown.signal(end)

        assert shown.exit_code() == code
        assert CLOSE_SCREEN in shown.raw.rpartition(OPEN_SCREEN)[2]
        assert not shown.cursor_hidden
        assert shown.modes == shown.first_modes
        assert b"Traceback" not in shown.raw


def test_typed_text_is_not_shown() -> None:
    with builtin() as server, terminal(*watching(server)) as shown:
        shown.wait_for(lambda: str(server.address) in shown.text)

        shown.type("xyz\n")
        drawn = len(shown.raw)
        shown.wait_for(lambda: len(shown.raw) > drawn + 200)

        assert b"xyz" not in shown.raw


def test_the_view_fits_a_resized_window() -> None:
    with builtin() as server:
        queue(server.address, [{}] * 3)
        with terminal(*watching(server), columns=100) as shown:
            shown.wait_for(lambda: "Wait" in shown.text)
            for columns, rows, words in (
                (30, 10, "Wait Run Workers"),
                (12, 3, "127.0.0.1:"),
                (2, 1, ""),
                (80, 24, "Wait Run Workers"),
            ):
                shown.resize(columns, rows)
                shown.wait_for(partial(_shows, shown, words))
                assert len(shown.lines) <= rows

            shown.type("q")
            assert shown.exit_code() == 0


def test_a_pipe_gets_a_table_at_each_interval(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with builtin() as server, path.open("w") as out:
        queue(server.address, [{}] * 2)
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr", *watching(server)],
            stdout=out,
            stderr=subprocess.PIPE,
        )
        try:
            until(lambda: path.read_text().count("Wait") >= 3)
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()

    assert (process.returncode, err) == (0, b"")
    text = path.read_text()
    assert re.search(r"^libra_pool_mgm +2 +0 +0 +\+0\.0$", text, re.M)
    assert "\x1b" not in text


def test_a_closed_pipe_ends_the_view_without_a_message() -> None:
    with builtin() as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr", *watching(server)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()
            _out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()

    assert (process.returncode, err) == (141, b"")


def test_q_ends_the_view_if_sigint_is_ignored() -> None:
    # As it is for a command that a script starts in the background.
    ignoring = ("sh", "-c", 'trap "" INT; exec "$0" -m poolmgr "$@"')
    with builtin() as server:
        args = watching(server)
        command = (*ignoring, sys.executable)
        with terminal(*args, command=command) as shown:
            shown.wait_for(lambda: str(server.address) in shown.text)
            shown.type("q")

            assert shown.exit_code() == 0
            assert shown.modes == shown.first_modes
            assert b"Traceback" not in shown.raw


def test_a_silent_server_delays_the_others_by_2_seconds() -> None:
    with peer(is_silent) as silent, builtin() as server:
        args = ["--gearman-server", str(silent.address), *watching(server)]
        with terminal(*args) as shown:
            shown.wait_for(lambda: "no answer within 2 s" in shown.text)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--interval", "1"], "--interval needs --watch"),
        (["--watch", "-f", "json"], "--watch cannot be used"),
        (["--watch", "-c", "Server"], "--watch cannot be used"),
        (["--watch", "--workers"], "not allowed with"),
        (["--watch", "--interval", "0"], "must be more than 0"),
        (["--watch", "--interval", "nan"], "must be more than 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    args: list[str], words: str
) -> None:
    done = poolmgr("status", *args)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_small_window_shows_the_most_important_lines() -> None:
    with builtin() as one, builtin() as two:
        queue(one.address, [{}] * 3)
        two.kill()
        args = watching(one, two)
        with terminal(*args, columns=30, rows=6) as shown:
            shown.wait_for(lambda: "DOWN" in shown.text)

            first, *rest = shown.lines
            assert re.match(r"\S+ 1 of 2 down, 3 wait", first)
            assert rest[0].startswith(f"{two.address} DOWN")
            assert "Connection refused" in rest[1]
            assert rest[2] == str(one.address)
            numbers = ["Wait", "Run", "Workers", "+/s"]
            assert rest[3].split()[-4:] == numbers
            assert re.match(r"libra\S* +3 +0 +0", rest[4])


def test_a_long_name_of_wide_characters_does_not_hide_the_numbers(
    tmp_path: Path,
) -> None:
    config = f"[worker]\nfunction = {WIDE_NAME}\n"
    with builtin() as server:
        with worker([str(server.address)], config, tmp_path):
            with terminal(*watching(server), columns=40) as shown:
                # The screen may be read while a row is being drawn.
                shown.wait_for(
                    lambda: any(
                        WIDE_NAME[0] in row
                        and row.split()[-4:-1] == ["0", "0", "1"]
                        for row in shown.lines
                    )
                )


def test_no_color_disables_colours() -> None:
    with builtin() as server:
        args = watching(server)
        with terminal(*args, environment={"NO_COLOR": "1"}) as shown:
            server.kill()
            shown.wait_for(lambda: "DOWN" in shown.text)

            assert b"\x1b[1;31m" not in shown.raw
            assert not re.search(rb"\x1b\[[0-9;]*3\dm", shown.raw)


def _shows(shown: Terminal, words: str) -> bool:
    return words in shown.text
