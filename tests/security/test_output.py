"""Foreign text acts on nothing: no log, terminal, shell or spreadsheet."""

import contextlib
import csv
import io
import json
import logging
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolmgr import PoolManager
from poolmgr.cli.app import Stream
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.drivers.nova import NovaSettings
from poolmgr.drivers.nova.credentials import Origin
from poolmgr.drivers.nova.sdk import keystone_url
from poolmgr.errors import ConfigError
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from poolmgr.text import lines, one_line
from tests.jobservers import builtin, gearmand
from tests.processes import Process, poolmgr
from tests.security.test_names import floating_ip, server

#: A character of every kind that does something else than to be seen.
EVIL = {
    "a new line": "\n",
    "a carriage return": "\r",
    "a tab": "\t",
    "NUL": "\0",
    "BEL": "\a",
    "a backspace": "\b",
    "a vertical tab": "\v",
    "a form feed": "\f",
    "ESC": "\x1b",
    "DEL": "\x7f",
    "NEL": "\x85",
    "CSI": "\x9b",
    "OSC": "\x9d",
    "a soft hyphen": "\xad",
    "an Arabic mark": "\u061c",
    "a zero-width space": "\u200b",
    "a joiner": "\u200d",
    "LRM": "\u200e",
    "a line separator": "\u2028",
    "a paragraph separator": "\u2029",
    "LRE": "\u202a",
    "RLO": "\u202e",
    "a no-break space": "\xa0",
    "an ideographic space": "\u3000",
    "LRI": "\u2066",
    "PDI": "\u2069",
    "a byte order mark": "\ufeff",
    "half a pair": "\ud800",
    "a private character": "\ue000",
    "no character": "\uffff",
    "a tag": "\U000e0041",
}
ALL = "".join(EVIL.values())


def harmless(text: str) -> bool:
    """Whether a terminal only shows it."""
    return all(
        line.replace("\t", "").isprintable() for line in text.split("\n")
    )


@pytest.mark.parametrize("what", EVIL)
def test_what_is_not_seen_is_escaped(what: str) -> None:
    shown = one_line(f"a{EVIL[what]}b")

    assert shown.isprintable()
    assert shown == f"a{EVIL[what].encode('unicode_escape').decode()}b"


def test_a_text_of_several_lines_keeps_them_and_nothing_else() -> None:
    assert lines("a\r\n\tb\x1b\nc\u2028") == "a\\r\n\tb\\x1b\nc\\u2028"
    assert harmless(lines(ALL))


def test_what_is_seen_stays_as_it_is() -> None:
    text = "Größe 測試 🚀 é ﬁ"
    assert one_line(text) == text


# -- logs --------------------------------------------------------------------


def test_one_event_is_one_line_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (
        "import json, logging, sys\n"
        "from poolmgr.cli.app import main\n"
        "main(['--debug', '--log-file', sys.argv[1], 'help'])\n"
        "text = json.loads(sys.argv[2])\n"
        "logging.getLogger('x').warning('a%sb', text)\n"
        "try:\n    raise ValueError(f'c{text}d')\n"
        "except ValueError:\n"
        "    logging.getLogger('x').exception('e%sf', text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), json.dumps(ALL)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    for said in (done.stderr, path.read_text()):
        assert harmless(said)
        assert said.count(" x: ") == 2
        # A new line in what an error says cannot pass for an event.
        assert "ValueError: c" in said


HOSTILE = f"x\x1b[31m\u202e\x9b{ALL}x"


@pytest.mark.parametrize(
    "payload", [{"action": HOSTILE}, HOSTILE, {HOSTILE: 1}]
)
def test_a_hostile_job_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, payload: Any
) -> None:
    """As a library, too, where others format the log."""
    caplog.set_level(logging.DEBUG)
    # What comes by the wire has no halves of pairs.
    name = HOSTILE.replace("\ud800", "")
    job = Job(name, name, "h:1")
    with PoolManager(FakeCloud()) as manager:
        manager.run(payload, job)
        manager.run({"action": "DELETE_DEVICE", "name": HOSTILE}, job)
        manager.run({"action": "BUILD_DEVICE", "x": HOSTILE}, job)

    said = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("poolmgr")
    ]
    assert len(said) == 3
    assert all(map(str.isprintable, said)), said


def test_a_device_with_a_hostile_name_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever can name servers in the project can name ours."""
    caplog.set_level(logging.INFO)
    cloud, job = FakeCloud(), Job("u", "H:x:1")
    for number in range(2):
        mark = Mark.for_job("libra", job)
        cloud.create_device(f"{NASTY}\n{number}", mark, 20.0)
    with PoolManager(cloud) as manager:
        manager.run({"action": "BUILD_DEVICE"}, job)

    said = [record.getMessage() for record in caplog.records]
    assert any("taking over device =x" in each for each in said)
    assert any("deleting device =x" in each for each in said)
    assert all(map(str.isprintable, said)), said


def test_an_address_with_anything_in_it_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        keystone_url(f"http://{NASTY}\udca3\n/v2.0", Origin(NovaSettings()))

    assert "http://=x" in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_worker_logs_a_hostile_job_as_one_line() -> None:
    with gearmand() as job_server:
        address = str(job_server.address)
        worker = Process(
            ["--driver", "fake", "--gearman-server", address, "worker"]
        )
        try:
            worker.wait_for("connected and registered")
            answer = poolmgr(
                "--gearman-server",
                address,
                "submit",
                "--unique",
                "u\x1b[2J\u202e\n2026 ERROR forged",
                json.dumps({"action": "x\n2026 ERROR forged\x1b[2J"}),
            )
            line = worker.wait_for("outcome=FAIL")
        finally:
            worker.end()

    assert harmless(line)
    assert harmless(answer.stdout + answer.stderr)
    assert not any(each.startswith("2026 ERROR") for each in worker.lines)


# -- what commands print -----------------------------------------------------

FORMATS = ("table", "value", "csv", "shell", "json", "yaml")


class Told(socketserver.BaseRequestHandler):
    """A job server that says what it was told to say."""

    says: bytes = b""

    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(self.says)


@contextmanager
def told(says: bytes) -> Iterator[str]:
    """Such a job server's address."""
    handler = type("Handler", (Told,), {"says": says})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


NASTY = "=x\x1b[31m\u202e\x9b\u2028\r$(echo oops)`echo oops`\"'\\x"


@pytest.mark.parametrize("format_", ["table", "value", "csv", "json", "yaml"])
@pytest.mark.parametrize("workers", [False, True])
def test_what_a_job_server_tells_is_only_shown(
    format_: str, workers: bool
) -> None:
    text = NASTY.replace("\r", "")
    row = f"30 {text} {text} : {text}" if workers else f"{text}\t1\t0\t1"
    more = ["--workers"] if workers else []
    with told(f"{row}\n.\n".encode()) as address:
        done = poolmgr(
            "--gearman-server", address, "status", *more, "-f", format_
        )

    assert done.returncode == 0, done.stderr
    assert "oops" in done.stdout
    assert harmless(done.stdout)
    if format_ == "csv":
        cells = [c for r in csv.reader(io.StringIO(done.stdout)) for c in r]
        assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_what_a_job_server_answers_wrongly_is_only_shown() -> None:
    with told(b"\x1b[31m\x07oops\n.\n") as address:
        done = poolmgr("--gearman-server", address, "status")

    assert done.returncode == 1
    assert harmless(done.stderr)
    assert "oops" in done.stderr


ANSWER = {"name": NASTY, NASTY: "x", "list": [NASTY], "n": None, "i": -1}


@contextmanager
def answering(answer: Mapping[str, object]) -> Iterator[str]:
    """The address of a job server with a worker that answers so."""
    program = (
        "import sys, gear; w = gear.Worker('w'); a = sys.argv;"
        "w.addServer('127.0.0.1', int(a[1])); w.waitForServer();"
        "w.registerFunction('libra_pool_mgm');"
        "w.getJob().sendWorkComplete(a[2].encode())"
    )
    with builtin() as job_server:
        port = str(job_server.address.port)
        worker = subprocess.Popen(
            [sys.executable, "-c", program, port, json.dumps(answer)]
        )
        try:
            yield str(job_server.address)
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.parametrize("format_", [f for f in FORMATS if f != "csv"])
def test_what_a_worker_answers_is_only_shown(format_: str) -> None:
    with answering(ANSWER) as address:
        done = poolmgr(
            "--gearman-server", address, "submit", "-f", format_, "{}"
        )

    assert done.returncode == 0, done.stderr
    assert harmless(done.stdout)
    if format_ in ("json", "yaml"):
        # Programs get it to the letter.
        assert yaml.safe_load(done.stdout) == ANSWER
    if format_ == "shell":
        shell = subprocess.run(
            ["sh", "-c", f'{done.stdout}\nprintf "%s|" "$name" "$n" "$i"'],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert shell.stderr == ""
        assert shell.stdout == f"{one_line(NASTY)}|None|-1|"


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        name = {"name": NASTY, "status": "ERROR", "fault": {"message": NASTY}}
        metadata = {"poolmgr_pool": NASTY, "poolmgr_state": "building"}
        one = server(**name, metadata={**metadata, "poolmgr_unique": NASTY})
        ip = floating_ip(
            description=f"poolmgr pool={NASTY} state=building",
            port_id="p",
            port_details={"device_id": one["id"]},
        )
        for path, body in (
            ("/servers/detail", {"servers": [one]}),
            ("/floatingips", {"floatingips": [ip]}),
        ):
            cloud.fault(Fault("GET", path, status=200, body=body, times=None))
        yield cloud


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["device", "ip"])
def test_what_a_cloud_has_is_only_shown(
    cloud: LoopbackCloud, tmp_path: Path, kind: str, format_: str
) -> None:
    clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    which = NASTY if kind == "device" else "198.18.0.2"
    commands = [
        [kind, "list", "--all"],
        [kind, "show", which],
    ]
    if format_ == "csv":
        del commands[1]
    if format_ == "shell":
        del commands[0]
    for command in commands:
        done = poolmgr(
            "--os-cloud",
            "loopback",
            *command,
            "-f",
            format_,
            OS_CLIENT_CONFIG_FILE=str(clouds),
        )

        assert done.returncode == 0, done.stderr
        assert harmless(done.stdout)
        assert "oops" in done.stdout
        if format_ == "csv":
            rows = csv.reader(io.StringIO(done.stdout))
            cells = [cell for row in rows for cell in row]
            assert not any(cell.startswith(("=", "+", "@")) for cell in cells)
        if format_ == "shell":
            # Only its own words are said, none is carried out.
            shell = subprocess.run(
                ["sh", "-c", done.stdout],
                capture_output=True,
                check=True,
                timeout=20,
            )
            assert (shell.stdout, shell.stderr) == (b"", b"")


@pytest.mark.parametrize(
    "args",
    [
        ["build-ip", NASTY],
        ["build-ip", "-f", NASTY],
        [NASTY],
        [f"--{NASTY}"],
        ["--config-file", NASTY, "build-ip"],
        ["--config-dir", NASTY, "build-ip"],
        ["--driver", NASTY, "build-ip"],
        ["--os-cloud", NASTY, "build-ip"],
        ["--gearman-server", NASTY, "status"],
        ["--log-file", f"/nowhere/{NASTY}", "build-ip"],
        ["--driver", "fake", "delete-device", NASTY],
        ["--driver", "fake", "delete-ip", NASTY],
        ["--driver", "fake", "device", "list", "--older-than", NASTY],
        ["--driver", "fake", "device", "show", NASTY],
        ["--driver", "fake", "build-ip", "-c", NASTY],
        ["--gearman-server", "127.0.0.1:1", "submit", NASTY],
        ["help", NASTY],
    ],
    ids=lambda args: " ".join(args).replace(NASTY, "X"),
)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_wrong_command_line_is_only_shown(
    args: list[str], debug: list[str]
) -> None:
    done = poolmgr(*debug, *args)

    assert done.returncode in (1, 2)
    assert harmless(done.stdout + done.stderr)


def test_a_file_may_have_any_name_but_it_is_only_shown(
    tmp_path: Path,
) -> None:
    config = tmp_path / "a\x1b[31m\nb.conf"
    config.write_text("[worker]\nlong_jobs = 0\n")

    done = poolmgr("--driver", "fake", "--config-file", str(config), "worker")

    assert done.returncode == 1
    assert harmless(done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_table_of_a_hostile_fault_is_only_shown(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    with contextlib.closing(FakeCloud(FakeSettings(state=str(state)))) as fake:
        fake.create_device(NASTY, None, 20.0)

    done = poolmgr(
        "--driver",
        "fake",
        "device",
        "list",
        "--all",
        OS_FAKE__STATE=str(state),
    )

    assert done.returncode == 0
    assert harmless(done.stdout)
    assert "oops" in done.stdout


def test_a_stream_writes_what_print_and_tracebacks_give_it() -> None:
    inner = io.StringIO()
    stream = Stream(inner)
    write: Callable[[str], int] = stream.write
    print("a\x1b", "b", file=stream, flush=True)
    stream.writelines(["c\n", "d\x9b"])

    assert write("x\n") == 2
    assert inner.getvalue() == "a\\x1b b\nc\nd\\x9bx\n"
