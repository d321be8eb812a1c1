"""Tests of the status page, as HTML and in a real browser."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from poolmgr.gearman.endpoint import Address
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import BUILD, BUILD_IP, ask, running, submit
from tests.browser import shown
from tests.jobservers import builtin, free_port
from tests.monitoring.watched import WatchedWorker, watched
from tests.polling import until

HOSTILE_NAME = (
    "\"'><img src=x onerror=alert(1)><script>alert(2)</script>\n\x1b[2J"
)


@dataclass
class ParsedPage(HTMLParser):
    """The text, tags and attributes of a page."""

    text: str
    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.text)
        self.close()

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        """Record an element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _value in attrs}

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.shown.append(data)

    @property
    def words(self) -> str:
        """Return all text, with single spaces."""
        return " ".join(" ".join(self.shown).split())


@dataclass(frozen=True)
class Scene:
    """A worker with jobs of all kinds, and what it works with."""

    worker: WatchedWorker
    cloud: LoopbackCloud
    address: Address
    dead: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Run a worker with jobs of all kinds, including hostile ones."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LoopbackCloud())
        server = stack.enter_context(builtin()).address
        dead = f"127.0.0.1:{free_port()}"
        config = "[worker]\nlong_jobs = 2\n[reaper]\ninterval = 0.2\n"
        worker = stack.enter_context(
            watched(
                [server, dead],
                tmp_path_factory.mktemp("page"),
                config,
                cloud=cloud,
                environment={"OS_NOVA__PASSWORD": "planted-secret-word"},
            )
        )
        submit(server, BUILD, BUILD_IP)()
        submit(server, {"action": HOSTILE_NAME}, uniques=(HOSTILE_NAME,))()
        ask(server, {"action": "DELETE_DEVICE", "name": HOSTILE_NAME})
        ask(server, {"action": "a" * 100000, "name": "b" * 100000})
        fault = {
            "forbidden": {"message": f"no planted-secret-word {HOSTILE_NAME}"}
        }
        cloud.fault(
            Fault(
                method="POST",
                path="/floatingips",
                status=403,
                body=fault,
                times=1,
            )
        )
        ask(server, BUILD_IP)
        cloud.set_quota(instances=0)
        uniques = ("running-1", "running-2", "held")
        submit(server, *[BUILD] * 3, uniques=uniques)
        until(lambda: running(server) == 3)
        yield Scene(worker, cloud, server, dead)


def read(scene: Scene) -> ParsedPage:
    """Return the status page."""
    answer = scene.worker.get("/")
    assert answer.status == 200
    return ParsedPage(answer.body)


def test_the_page_shows_slots_jobs_servers_and_cloud_calls(
    scene: Scene,
) -> None:
    until(lambda: "circuit open for device quota" in read(scene).words)
    until(lambda: "last run" in read(scene).words)
    # The last build may still be on its way to the worker.
    until(lambda: "1 of 10000 prefetched builds" in read(scene).words)
    words = read(scene).words

    assert "2 of 2 long jobs running" in words
    assert "running-1" in words
    assert "running-2" in words
    assert f"{scene.address} up" in words
    assert scene.dead in words
    assert "Connection refused" in words
    assert "BUILD_IP" in words
    assert "PASS" in words
    assert "198.18." in words
    assert "FAIL (unknown_action)" in words
    assert re.search(r"\d+ calls in the last hour", words)
    assert len(re.findall(r"req-[0-9a-f-]{36}", words)) > 5


def test_the_chart_shows_the_calls_of_the_last_hour(scene: Scene) -> None:
    body = scene.worker.get("/").body
    (svg,) = re.findall(r"<svg.*?</svg>", body, re.DOTALL)

    assert svg.count('class="longest"') >= 1
    heights = map(float, re.findall(r'height="([\d.]+)"', svg))
    assert all(0 < height <= 100 for height in heights)


def test_hostile_input_is_shown_as_text(scene: Scene) -> None:
    page = read(scene)

    assert not page.tags & {"script", "img", "iframe", "link", "a", "form"}
    assert not any(name.startswith("on") for name in page.attributes)
    assert "<script>alert(2)</script>" in page.words
    assert "\x1b" not in page.text


def test_pages_contain_no_secret(scene: Scene) -> None:
    for path in ("/", "/metrics", "/readyz", "/healthz", "/planted"):
        assert "planted-secret" not in scene.worker.get(path).body
    assert "no ***" in read(scene).words


def test_the_size_of_the_page_is_bounded(scene: Scene) -> None:
    for _ in range(4):
        messages = [{"action": f"{n}{HOSTILE_NAME}" * 1000} for n in range(50)]
        submit(scene.address, *messages)()

    assert len(scene.worker.get("/").body) < 150_000


@pytest.mark.browser
def test_a_browser_shows_the_page_and_runs_no_script(
    scene: Scene, tmp_path: Path
) -> None:
    document, console = shown(scene.worker.url, tmp_path)
    page = ParsedPage(document)

    assert "Running jobs" in page.words
    assert "running-1" in page.words
    assert "<script>alert(2)</script>" in page.words
    assert not page.tags & {"script", "img", "iframe"}
    assert "svg" in page.tags
    # A browser would report violations of the policy here.
    assert "CONSOLE" not in console
