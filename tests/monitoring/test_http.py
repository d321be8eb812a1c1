"""Whoever can reach the pages can do the worker no harm."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolmgr.monitoring.server import MAX_CONNECTIONS, MAX_HEADER
from tests.asking import asked
from tests.jobservers import JobServerProcess, builtin
from tests.monitoring.watched import TIMEOUT, Watched, watched
from tests.polling import until

PAGES = ["/", "/healthz", "/readyz", "/metrics"]


@pytest.fixture(scope="module")
def server() -> Iterator[JobServerProcess]:
    """A job server for all of these tests."""
    with builtin() as server:
        yield server


@pytest.fixture(scope="module")
def it(
    server: JobServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A worker for all of these tests."""
    config = "[monitoring]\nhosts = lb1.example.net\n"
    folder = tmp_path_factory.mktemp("watched")
    path = folder / "more.conf"
    path.write_text(config)
    with watched(
        [server.address],
        folder,
        environment={"OS_MONITORING__HOSTS": "lb1.example.net,Other"},
    ) as it:
        yield it


def connected(it: Watched) -> socket.socket:
    """A connection to the pages."""
    return socket.create_connection(("127.0.0.1", it.port), TIMEOUT)


def said(it: Watched, request: bytes) -> bytes:
    """The whole answer to what is sent, if any."""
    with connected(it) as sock:
        sock.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65536):
                answer += data
        return answer


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_not_for_others_to_embed_or_keep(
    it: Watched, path: str
) -> None:
    answer = it.get(path)

    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert (
        "frame-ancestors 'none'" in (answer.headers["Content-Security-Policy"])
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not any("Allow-Origin" in name for name in answer.headers)


@pytest.mark.parametrize("path", PAGES)
def test_head_is_get_without_the_body(it: Watched, path: str) -> None:
    answer = it.get(path, "HEAD")

    assert (answer.status, answer.body) == (200, "")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_nothing_can_be_changed(it: Watched, method: str) -> None:
    answer = it.get("/", method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/x", "/../etc/passwd", "/%2e", "/metrics/", "/Healthz"]
)
def test_there_is_nothing_else(it: Watched, path: str) -> None:
    answer = it.get(path)

    assert answer.status == 404
    assert "passwd" not in answer.body


def test_a_query_is_left_alone(it: Watched) -> None:
    assert it.get("/healthz?verbose=1").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:{port}",
        "127.0.0.1",
        "[::1]:{port}",
        "[::1]",
        "localhost:{port}",
        "LOCALHOST",
        "lb1.example.net:{port}",
        "other",
        f"{socket.gethostname()}:{{port}}",
    ],
)
def test_it_is_asked_by_an_address_or_a_known_name(
    it: Watched, host: str
) -> None:
    answer = it.get("/", Host=host.format(port=it.port))

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
def test_a_name_that_only_leads_here_is_refused(
    it: Watched, path: str, host: str
) -> None:
    """As a page of somebody else's would ask, whose name is made to."""
    answer = it.get(path, Host=host.format(port=it.port))

    assert answer.status == 421
    assert "[monitoring] hosts" in answer.body
    assert "libra" not in answer.body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
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
def test_what_is_no_request_is_refused(
    it: Watched, request_: bytes, status: bytes
) -> None:
    assert said(it, request_).split(b" ")[1] == status
    assert it.get("/healthz").status == 200


def test_who_says_nothing_and_who_drips_keep_nobody_out(
    it: Watched, server: JobServerProcess
) -> None:
    slow = [connected(it) for _ in range(3 * MAX_CONNECTIONS)]
    try:
        for sock in slow[::2]:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET / HT")
        for page in PAGES:
            assert it.get(page).status == 200
        (answer,) = asked(server.address, {"action": "BUILD_IP"})()
    finally:
        for sock in slow:
            sock.close()
    assert answer["response"] == "PASS"


def test_who_reads_nothing_and_who_sends_for_ever_is_cut_off(
    it: Watched,
) -> None:
    with connected(it) as reads_nothing, connected(it) as sends:
        reads_nothing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reads_nothing.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sends.sendall(b"GET /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        end = time.monotonic() + TIMEOUT
        with pytest.raises(OSError):  # noqa: PT011 - whichever
            while time.monotonic() < end:
                sends.sendall(b"x" * 1024)
                time.sleep(0.01)
        assert time.monotonic() < end


def test_who_asks_for_much_and_reads_nothing_is_cut_off(it: Watched) -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    greedy = [connected(it) for _ in range(MAX_CONNECTIONS // 2)]
    try:
        for sock in greedy:
            sock.sendall(100 * request)
        for page in PAGES:
            assert it.get(page).status == 200
        for sock in greedy:
            answers = b""
            with contextlib.suppress(ConnectionResetError):
                while data := sock.recv(65536):
                    answers += data
            # One request a connection.
            assert answers.count(b"HTTP/1.1 200 OK") <= 1
            assert answers.count(b"Connection: close") <= 1
    finally:
        for sock in greedy:
            sock.close()


def test_a_storm_of_requests_is_answered_and_leaves_nothing(
    it: Watched,
) -> None:
    def files() -> int:
        return len(list(Path(f"/proc/{it.process.pid}/fd").iterdir()))

    it.get("/")
    before = files()
    for _ in range(200):
        assert it.get("/healthz").status == 200
    until(lambda: files() <= before)
    assert not [x for x in it.process.lines if "ERROR" in x or "Trace" in x]
