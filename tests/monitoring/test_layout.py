"""Tests of the status page's layout on telephones and large screens."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import running, submit
from tests.browser import browser, shown
from tests.jobservers import builtin
from tests.monitoring.watched import watched
from tests.polling import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NAME = "libra-eaf1fef0-1584-11e3-b42b-02163e192df9"
REASON = (
    "Quota exceeded for resources: ['floatingip'] in the project "
    "0f3bb8c1d2274e4c9c36c5d4d7a1e7a1; ask the operator for more, or release "
    "those which are not attached to anything any more"
)

#: A script that writes measurements into the page: the height of a line, the
#: widths of the page and the window, and each section's top and row heights.
RULER = """
<pre id=measured></pre><script>
const sections = {}
for (const title of document.querySelectorAll("h2")) {
  const rows = []
  let next = title.nextElementSibling
  while (next && next.tagName != "H2") {
    for (const row of next.querySelectorAll("tbody tr"))
      rows.push(row.getBoundingClientRect().height)
    next = next.nextElementSibling
  }
  sections[title.textContent] = {
    top: title.getBoundingClientRect().top, rows: rows}
}
document.getElementById("measured").textContent = JSON.stringify({
  line: parseFloat(getComputedStyle(document.body).lineHeight),
  width: document.documentElement.scrollWidth,
  window: innerWidth, sections: sections})
</script>"""


@pytest.fixture(scope="module")
def busy_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the page of a worker with many jobs and long reasons."""
    browser()  # Skip early if there is none.
    folder = tmp_path_factory.mktemp("layout")
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], folder, cloud=cloud) as worker:
            build, ip = {"action": "BUILD_DEVICE"}, {"action": "BUILD_IP"}
            submit(server.address, *[build] * 3, *[ip] * 3)()
            refusal = {"badRequest": {"message": REASON}}
            cloud.fault(
                Fault(
                    method="POST",
                    path="/floatingips",
                    status=400,
                    body=refusal,
                    times=None,
                )
            )
            submit(
                server.address,
                *[ip] * 3,
                {"action": "A_NAME_AS_LONG_AS_THE_PAGE_WILL_EVER_SHOW"},
                {"action": "DELETE_DEVICE", "name": NAME},
            )()
            cloud.set_quota(instances=0)
            submit(server.address, *[build] * 60)
            until(lambda: running(server.address) == 60)
            yield worker.get("/").body


def measure(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Return the measurements of the page in a browser."""
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"{RULER}</body>"))
    size = f"--window-size={width},900"
    page, _console = shown(
        file.as_uri(), folder / "profile", "--hide-scrollbars", size
    )
    (found,) = re.findall(r'<pre id="measured">(.*?)</pre>', page)
    measures: dict[str, Any] = json.loads(found)
    return measures


def test_rows_take_few_lines_on_a_large_screen(
    busy_page: str, tmp_path: Path
) -> None:
    measures = measure(busy_page, 1280, tmp_path)

    def lines(section: str) -> list[float]:
        return [
            h / measures["line"] for h in measures["sections"][section]["rows"]
        ]

    assert measures["window"] == 1280
    assert measures["width"] <= 1280
    # The reason takes three lines, the request id one; then the padding.
    assert len(lines("Last failures")) == 5
    assert max(lines("Last failures")) < 5
    assert len(lines("Last jobs")) == 11
    assert max(lines("Last jobs")) < 3
    assert max(lines("Running jobs")) < 2


@pytest.mark.parametrize("width", [400, 1280])
def test_failures_are_shown_above_long_lists(
    busy_page: str, tmp_path: Path, width: int
) -> None:
    measures = measure(busy_page, width, tmp_path)

    tops = {name: at["top"] for name, at in measures["sections"].items()}
    assert max(tops, key=lambda name: tops[name]) != "Last failures"
    for before in ("Cloud", "Job servers", "Last failures"):
        assert tops[before] < tops["Running jobs"]


def test_the_page_fits_a_telephones_width(
    busy_page: str, tmp_path: Path
) -> None:
    measures = measure(busy_page, 400, tmp_path)

    assert measures["window"] <= 500  # Browsers have a minimum width.
    assert measures["width"] <= measures["window"]
