"""Tests of the pages against hostile and malformed requests."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolmgr.monitoring.server import MAX_CONNECTIONS, MAX_HEADER
from tests.batches import ask
from tests.jobservers import JobServerProcess, builtin
from tests.monitoring.watched import TIMEOUT, WatchedWorker, watched
from tests.peers import is_silent, peer
from tests.polling import until
from tests.processes import poolmgr

PAGES = ["/", "/healthz", "/readyz", "/metrics"]


@pytest.fixture(scope="module")
def server() -> Iterator[JobServerProcess]:
    """Run a job server for all tests of this module."""
    with builtin() as server:
        yield server


@pytest.fixture(scope="module")
def worker(
    server: JobServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedWorker]:
    """Run a worker for all tests of this module."""
    with watched(
        [server.address],
        tmp_path_factory.mktemp("watched"),
        environment={"OS_MONITORING__HOSTS": "lb1.example.net,Other,root."},
    ) as worker:
        yield worker


def connect(worker: WatchedWorker) -> socket.socket:
    """Connect to the pages."""
    return socket.create_connection(("127.0.0.1", worker.port), TIMEOUT)


def send(worker: WatchedWorker, request: bytes) -> bytes:
    """Send a request and return the whole answer."""
    with connect(worker) as sock:
        sock.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65536):
                answer += data
        return answer


@pytest.mark.parametrize("path", PAGES)
def test_pages_may_not_be_embedded_or_cached(
    worker: WatchedWorker, path: str
) -> None:
    answer = worker.get(path)

    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not any("Allow-Origin" in name for name in answer.headers)


@pytest.mark.parametrize("path", PAGES)
def test_head_answers_like_get_without_the_body(
    worker: WatchedWorker, path: str
) -> None:
    answer = worker.get(path, "HEAD")

    assert (answer.status, answer.body) == (200, "")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_methods_other_than_get_and_head_are_refused(
    worker: WatchedWorker, method: str
) -> None:
    answer = worker.get("/", method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/x", "/../etc/passwd", "/%2e", "/metrics/", "/Healthz"]
)
def test_unknown_paths_are_not_found(worker: WatchedWorker, path: str) -> None:
    answer = worker.get(path)

    assert answer.status == 404
    assert "passwd" not in answer.body


def test_the_query_string_is_ignored(worker: WatchedWorker) -> None:
    assert worker.get("/healthz?verbose=1").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{port}",
        "127.0.0.1",
        "[::1]:{port}",
        "[::1]",
        "localhost:{port}",
        "LOCALHOST",
        "localhost.",
        "root.:{port}",
        "lb1.example.net:{port}",
        "other",
        f"{socket.gethostname()}:{{port}}",
    ],
)
def test_own_names_and_addresses_are_accepted_as_host(
    worker: WatchedWorker, host: str
) -> None:
    answer = worker.get("/", Host=host.format(port=worker.port))

    assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example:{port}",
        "",
        "[127.0.0.1",
    ],
)
@pytest.mark.parametrize("path", PAGES)
def test_other_host_names_are_refused(
    worker: WatchedWorker, path: str, host: str
) -> None:
    """They are a sign of DNS rebinding by a page of another site."""
    answer = worker.get(path, Host=host.format(port=worker.port))

    assert answer.status == 421
    assert "[monitoring] hosts" in answer.body
    assert "libra" not in answer.body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"GET  / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nhost: localhost\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nX: " + MAX_HEADER * b"x", b"431"),
        (b"\xff\x00\xfe / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nContent-Length: -9\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", b"501"),
    ],
)
def test_malformed_requests_are_refused(
    worker: WatchedWorker, data: bytes, status: bytes
) -> None:
    assert send(worker, data).split(b" ")[1] == status
    assert worker.get("/healthz").status == 200


def test_a_request_of_http_1_0_without_a_host_is_answered(
    worker: WatchedWorker,
) -> None:
    answer = send(worker, b"GET / HTTP/1.0\r\n\r\n")

    assert answer.split(b" ")[1] == b"200"


def test_idle_and_slow_clients_do_not_block_other_clients(
    worker: WatchedWorker, server: JobServerProcess
) -> None:
    connections = [connect(worker) for _ in range(500)]
    started = time.monotonic()
    try:
        for sock in connections[::2]:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET / HT")
        for page in PAGES:
            assert worker.get(page).status == 200
        assert time.monotonic() - started < 4
        answer = ask(server.address, {"action": "BUILD_IP"})
    finally:
        for sock in connections:
            sock.close()
    assert answer["response"] == "PASS"


def test_requests_for_metrics_do_not_delay_or_disconnect_other_clients(
    tmp_path: Path,
) -> None:
    request = b"GET %s HTTP/1.1\r\n\r\n"
    with peer(is_silent) as silent, contextlib.ExitStack() as stack:
        worker = stack.enter_context(
            watched([silent.address], tmp_path, registered=False)
        )
        for _ in range(90):
            scraper = stack.enter_context(connect(worker))
            scraper.sendall(request % b"/metrics")
        idle = stack.enter_context(connect(worker))
        # The job server gets no time-out for each of the requests.
        health = poolmgr(
            *("health", "--timeout", "30"),
            OS_MONITORING__PORT=str(worker.port),
        )
        idle.sendall(request % b"/healthz")
        answer = idle.recv(65536)

    assert (health.returncode, health.stderr) == (0, "")
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_sends_without_end_is_disconnected(
    worker: WatchedWorker,
) -> None:
    with connect(worker) as reader, connect(worker) as sender:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reader.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sender.sendall(b"GET /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        end = time.monotonic() + TIMEOUT
        with pytest.raises(OSError):  # noqa: PT011 - any of them
            while time.monotonic() < end:
                sender.sendall(b"x" * 1024)
                time.sleep(0.01)
        assert time.monotonic() < end


def test_pipelined_requests_get_one_answer_per_connection(
    worker: WatchedWorker,
) -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    connections = [connect(worker) for _ in range(MAX_CONNECTIONS // 2)]
    try:
        for sock in connections:
            sock.sendall(100 * request)
        for page in PAGES:
            assert worker.get(page).status == 200
        for sock in connections:
            answers = b""
            with contextlib.suppress(ConnectionResetError):
                while data := sock.recv(65536):
                    answers += data
            assert answers.count(b"HTTP/1.1 200 OK") <= 1
            assert answers.count(b"Connection: close") <= 1
    finally:
        for sock in connections:
            sock.close()


def test_many_requests_leave_no_open_files_and_no_errors(
    worker: WatchedWorker,
) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))

    worker.get("/")
    before = open_files()
    for _ in range(200):
        assert worker.get("/healthz").status == 200
    until(lambda: open_files() <= before)
    assert not [
        x for x in worker.process.lines if "ERROR" in x or "Trace" in x
    ]
