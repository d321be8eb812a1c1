"""Foreign text cannot affect logs, terminals, shells or spreadsheets."""

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
from poolmgr.drivers.nova.credentials import check_address
from poolmgr.errors import ConfigError
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from poolmgr.text import lines, one_line
from tests.jobservers import builtin, gearmand
from tests.processes import Process, poolmgr
from tests.security.test_names import floating_ip, server

#: A character of each kind that a terminal does not simply display.
UNSAFE = {
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
ALL = "".join(UNSAFE.values())


def harmless(text: str) -> bool:
    """Return whether a terminal only displays a text."""
    return all(
        line.replace("\t", "").isprintable() for line in text.split("\n")
    )


@pytest.mark.parametrize("what", UNSAFE)
def test_invisible_characters_are_escaped(what: str) -> None:
    shown = one_line(f"a{UNSAFE[what]}b")

    assert shown.isprintable()
    assert shown == f"a{UNSAFE[what].encode('unicode_escape').decode()}b"


def test_only_line_breaks_survive_in_multiline_text() -> None:
    assert lines("a\r\n\tb\x1b\nc\u2028") == "a\\r\n\tb\\x1b\nc\\u2028"
    assert harmless(lines(ALL))


def test_visible_characters_are_unchanged() -> None:
    text = "Größe 測試 🚀 é ﬁ"
    assert one_line(text) == text


def test_each_event_is_one_log_line(tmp_path: Path) -> None:
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
        timeout=300,
    )

    for log in (done.stderr, path.read_text()):
        assert harmless(log)
        assert log.count(" x: ") == 2
        # A line break in an error cannot forge an event.
        assert "ValueError: c" in log


MALICIOUS_TEXT = f"x\x1b[31m\u202e\x9b{ALL}x"


@pytest.mark.parametrize(
    "payload",
    [{"action": MALICIOUS_TEXT}, MALICIOUS_TEXT, {MALICIOUS_TEXT: 1}],
)
def test_a_malicious_job_is_one_log_line(
    caplog: pytest.LogCaptureFixture, payload: Any
) -> None:
    """The library escapes text itself, independently of the log format."""
    caplog.set_level(logging.DEBUG)
    # Names from a job server contain no lone surrogates.
    name = MALICIOUS_TEXT.replace("\ud800", "")
    job = Job(name, name, "h:1")
    with PoolManager(FakeCloud()) as manager:
        manager.run(payload, job)
        manager.run({"action": "DELETE_DEVICE", "name": MALICIOUS_TEXT}, job)
        manager.run({"action": "BUILD_DEVICE", "x": MALICIOUS_TEXT}, job)

    messages = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("poolmgr")
    ]
    assert len(messages) == 3
    assert all(map(str.isprintable, messages)), messages


def test_a_device_with_a_malicious_name_is_one_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anyone who can name servers in the project can name ours."""
    caplog.set_level(logging.INFO)
    cloud, job = FakeCloud(), Job("u", "H:x:1")
    for number in range(2):
        mark = Mark.for_job("libra", job)
        cloud.create_device(f"{MALICIOUS}\n{number}", mark, 20.0)
    with PoolManager(cloud) as manager:
        manager.run({"action": "BUILD_DEVICE"}, job)

    messages = [record.getMessage() for record in caplog.records]
    assert any("taking over device =x" in each for each in messages)
    assert any("deleting device =x" in each for each in messages)
    assert all(map(str.isprintable, messages)), messages


def test_a_malicious_address_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        check_address("auth_url", f"http://{MALICIOUS}\udca3\n/v2.0")

    assert "http://=x" in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_worker_logs_a_malicious_job_as_one_line() -> None:
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


FORMATS = ("table", "value", "csv", "shell", "json", "yaml")


class ScriptedHandler(socketserver.BaseRequestHandler):
    """Sends a scripted answer to the first request."""

    answer: bytes = b""

    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(self.answer)


@contextmanager
def scripted_job_server(answer: bytes) -> Iterator[str]:
    """Run a job server with a scripted answer and yield its address."""
    handler = type("Handler", (ScriptedHandler,), {"answer": answer})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


MALICIOUS = "=x\x1b[31m\u202e\x9b\u2028\r$(echo oops)`echo oops`\"'\\x"


@pytest.mark.parametrize("format_", ["table", "value", "csv", "json", "yaml"])
@pytest.mark.parametrize("workers", [False, True])
def test_answers_of_a_malicious_job_server_are_escaped(
    format_: str, workers: bool
) -> None:
    text = MALICIOUS.replace("\r", "")
    row = f"30 {text} {text} : {text}" if workers else f"{text}\t1\t0\t1"
    more = ["--workers"] if workers else []
    with scripted_job_server(f"{row}\n.\n".encode()) as address:
        done = poolmgr(
            "--gearman-server", address, "status", *more, "-f", format_
        )

    assert done.returncode == 0, done.stderr
    assert "oops" in done.stdout
    assert harmless(done.stdout)
    if format_ == "csv":
        cells = [c for r in csv.reader(io.StringIO(done.stdout)) for c in r]
        assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_wrong_answers_of_a_job_server_are_escaped() -> None:
    with scripted_job_server(b"\x1b[31m\x07oops\n.\n") as address:
        done = poolmgr("--gearman-server", address, "status")

    assert done.returncode == 1
    assert harmless(done.stderr)
    assert "oops" in done.stderr


ANSWER = {
    "name": MALICIOUS,
    MALICIOUS: "x",
    "list": [MALICIOUS],
    "n": None,
    "i": -1,
}


@contextmanager
def fixed_answer_worker(answer: Mapping[str, object]) -> Iterator[str]:
    """Run a worker with a fixed answer; yield its job server's address."""
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
def test_answers_of_a_malicious_worker_are_escaped(format_: str) -> None:
    with fixed_answer_worker(ANSWER) as address:
        done = poolmgr(
            "--gearman-server", address, "submit", "-f", format_, "{}"
        )

    assert done.returncode == 0, done.stderr
    assert harmless(done.stdout)
    if format_ in ("json", "yaml"):
        # Formats for programs keep the exact text.
        assert yaml.safe_load(done.stdout) == ANSWER
    if format_ == "shell":
        shell = subprocess.run(
            ["sh", "-c", f'{done.stdout}\nprintf "%s|" "$name" "$n" "$i"'],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert shell.stderr == ""
        assert shell.stdout == f"{one_line(MALICIOUS)}||-1|"


@pytest.fixture
def cloud() -> Iterator[LoopbackCloud]:
    with LoopbackCloud() as cloud:
        metadata = {"poolmgr_pool": MALICIOUS, "poolmgr_state": "building"}
        one = server(
            name=MALICIOUS,
            status="ERROR",
            fault={"message": MALICIOUS},
            created="2026-01-01T00:00:00Z",
            metadata={**metadata, "poolmgr_unique": MALICIOUS},
        )
        ip = floating_ip(
            description=f"poolmgr pool={MALICIOUS} state=building",
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
def test_names_in_the_cloud_are_escaped(
    cloud: LoopbackCloud, tmp_path: Path, kind: str, format_: str
) -> None:
    clouds = cloud.write_clouds_yaml(tmp_path / "clouds.yaml")
    which = MALICIOUS if kind == "device" else "198.18.0.2"
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
            # The shell does not execute the embedded commands.
            shell = subprocess.run(
                ["sh", "-c", done.stdout],
                capture_output=True,
                check=True,
                timeout=300,
            )
            assert (shell.stdout, shell.stderr) == (b"", b"")


@pytest.mark.parametrize(
    "args",
    [
        ["build-ip", MALICIOUS],
        ["build-ip", "-f", MALICIOUS],
        [MALICIOUS],
        [f"--{MALICIOUS}"],
        ["--config-file", MALICIOUS, "build-ip"],
        ["--config-dir", MALICIOUS, "build-ip"],
        ["--driver", MALICIOUS, "build-ip"],
        ["--os-cloud", MALICIOUS, "build-ip"],
        ["--gearman-server", MALICIOUS, "status"],
        ["--log-file", f"/nowhere/{MALICIOUS}", "build-ip"],
        ["--driver", "fake", "delete-device", MALICIOUS],
        ["--driver", "fake", "delete-ip", MALICIOUS],
        ["--driver", "fake", "device", "list", "--older-than", MALICIOUS],
        ["--driver", "fake", "device", "show", MALICIOUS],
        ["--driver", "fake", "build-ip", "-c", MALICIOUS],
        ["--gearman-server", "127.0.0.1:1", "submit", MALICIOUS],
        ["help", MALICIOUS],
    ],
    ids=lambda args: " ".join(args).replace(MALICIOUS, "X"),
)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_wrong_command_line_is_escaped(
    args: list[str], debug: list[str]
) -> None:
    done = poolmgr(*debug, *args)

    assert done.returncode in (1, 2)
    assert harmless(done.stdout + done.stderr)


def test_file_names_are_escaped(
    tmp_path: Path,
) -> None:
    config = tmp_path / "a\x1b[31m\nb.conf"
    config.write_text("[worker]\nlong_jobs = 0\n")

    done = poolmgr("--driver", "fake", "--config-file", str(config), "worker")

    assert done.returncode == 1
    assert harmless(done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_malicious_fault_is_escaped_in_tables(tmp_path: Path) -> None:
    state = tmp_path / "cloud.db"
    with contextlib.closing(FakeCloud(FakeSettings(state=str(state)))) as fake:
        fake.create_device(MALICIOUS, None, 20.0)

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


def test_an_escaping_stream_supports_print_and_tracebacks() -> None:
    inner = io.StringIO()
    stream = Stream(inner)
    write: Callable[[str], int] = stream.write
    print("a\x1b", "b", file=stream, flush=True)
    stream.writelines(["c\n", "d\x9b"])

    assert write("x\n") == 2
    assert inner.getvalue() == "a\\x1b b\nc\nd\\x9bx\n"
