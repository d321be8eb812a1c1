"""``poolmgr status --watch``: a view to leave open."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from tests.jobservers import JobServerProcess, builtin, gearmand
from tests.polling import until
from tests.processes import poolmgr, worker
from tests.terminals import Terminal, terminal

WIDE = "[worker]\nfunction = " + "\u5bbd" * 30 + "\n"
ALT_SCREEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def servers() -> Iterator[tuple[JobServerProcess, JobServerProcess]]:
    """Two job servers, each of its own kind."""
    with gearmand() as one, builtin() as two:
        yield one, two


def watching(*servers: JobServerProcess) -> list[str]:
    """The command line that watches them."""
    args = []
    for server in servers:
        args += ["--gearman-server", str(server.address)]
    return [*args, "status", "--watch", "--interval", "0.2"]


def send(server: Address, jobs: int) -> None:
    """Queue jobs that nobody waits for."""

    async def submit() -> None:
        async with Client([server]) as client:
            for _number in range(jobs):
                await client.submit("libra_pool_mgm", b"{}", background=True)

    asyncio.run(submit())


def row_of(shown: Terminal) -> str:
    """The row of our function."""
    rows = [line for line in shown.lines if "libra_pool_mgm" in line]
    return rows[0] if rows else ""


def test_queues_are_seen_to_grow_and_to_shrink(
    servers: tuple[JobServerProcess, JobServerProcess],
) -> None:
    one, two = servers
    with terminal(*watching(one, two)) as shown:
        shown.wait_for(lambda: shown.text.count("no functions") == 2)

        send(one.address, 7)

        row = re.compile(r"libra_pool_mgm +7 +0 +0 +\+0\.0$")
        shown.wait_for(lambda: row.search(row_of(shown)))
        assert re.search(rb"\+[1-9]\d*\.\d", shown.raw)
        with worker([str(one.address)]):
            shown.wait_for(lambda: re.search(" 0 +0 +1 ", row_of(shown)))
        assert "0 waiting, 0 running" in shown.text


def test_who_is_down_is_said_with_the_reason_and_comes_back(
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
def test_the_terminal_is_given_back(
    end: str | signal.Signals, code: int
) -> None:
    with builtin() as server, terminal(*watching(server)) as shown:
        before = shown.modes
        shown.wait_for(lambda: str(server.address) in shown.text)
        assert ALT_SCREEN in shown.raw
        assert shown.cursor_hidden
        assert shown.modes != before

        if isinstance(end, str):
            shown.type(end)
        else:
            shown.signal(end)

        assert shown.exit_code() == code
        assert BACK in shown.raw.rpartition(ALT_SCREEN)[2]
        assert not shown.cursor_hidden
        assert shown.modes == before
        assert b"Traceback" not in shown.raw


def test_what_is_typed_is_not_shown() -> None:
    with builtin() as server, terminal(*watching(server)) as shown:
        shown.wait_for(lambda: str(server.address) in shown.text)

        shown.type("xyz\n")
        seen = len(shown.raw)
        shown.wait_for(lambda: len(shown.raw) > seen + 200)

        assert b"xyz" not in shown.raw


def test_a_window_that_changes_its_size_is_no_trouble() -> None:
    with builtin() as server:
        send(server.address, 3)
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


def test_a_pipe_gets_one_table_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with builtin() as server, path.open("w") as out:
        send(server.address, 2)
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr", *watching(server)],
            stdout=out,
            stderr=subprocess.PIPE,
        )
        try:
            until(lambda: path.read_text().count("Wait") >= 3)
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()

    assert (process.returncode, err) == (0, b"")
    text = path.read_text()
    assert re.search(r"^libra_pool_mgm +2 +0 +0 +\+0\.0$", text, re.M)
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--watch", "-f", "json"], "--watch cannot be used"),
        (["--watch", "-c", "Server"], "--watch cannot be used"),
        (["--watch", "--workers"], "not allowed with"),
        (["--watch", "--interval", "0"], "must be more than 0"),
        (["--watch", "--interval", "nan"], "must be more than 0"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    args: list[str], words: str
) -> None:
    done = poolmgr("status", *args)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


# -- the view ---------------------------------------------------------------


def test_a_small_window_has_what_matters_most() -> None:
    with builtin() as one, builtin() as two:
        send(one.address, 3)
        two.kill()
        args = watching(one, two)
        with terminal(*args, columns=30, rows=6) as shown:
            shown.wait_for(lambda: "DOWN" in shown.text)

            first, *rest = shown.lines
            assert re.match(r"\S+ 1 of 2 down, 3 wait", first)
            assert rest[0] == str(one.address)
            numbers = ["Wait", "Run", "Workers", "+/s"]
            assert rest[1].split()[-4:] == numbers
            assert re.match(r"libra\S* +3 +0 +0", rest[2])
            assert rest[3].startswith(f"{two.address} DOWN")
            assert len(rest) == 5


def test_a_name_of_ideographs_leaves_the_numbers_their_room(
    tmp_path: Path,
) -> None:
    with builtin() as server:
        with worker([str(server.address)], WIDE, tmp_path):
            with terminal(*watching(server), columns=40) as shown:
                # The screen is drawn piece by piece: a row may be cut.
                shown.wait_for(
                    lambda: any(
                        "\u5bbd" in row
                        and row.split()[-4:-1] == ["0", "0", "1"]
                        for row in shown.lines
                    )
                )


def test_no_color_is_obeyed() -> None:
    with builtin() as server:
        args = watching(server)
        with terminal(*args, environment={"NO_COLOR": "1"}) as shown:
            server.kill()
            shown.wait_for(lambda: "DOWN" in shown.text)

            assert b"\x1b[1;31m" not in shown.raw
            assert not re.search(rb"\x1b\[[0-9;]*3\dm", shown.raw)


def _shows(shown: Terminal, words: str) -> bool:
    return words in shown.text
