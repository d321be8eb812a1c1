"""The pages in a browser as wide as a phone."""

import html
import json
import re
from pathlib import Path

import pytest

from tests.browser import shown
from tests.docs.blocks import SOURCE
from tests.docs.builds import built

#: The width of a phone in CSS pixels.
WIDTH = 400
#: Loads each page into a frame of that width and reports its natural width and
#: overflowing elements, except the theme's closed drawers.
MEASURE = """<!doctype html><pre id="found"></pre><script>
function load(name) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.style.cssText = "border:0;width:%(width)dpx;height:800px";
    frame.onload = () => done(frame);
    frame.src = name;
    document.body.append(frame);
  });
}
async function measure() {
  const found = {};
  for (const name of %(names)s) {
    const frame = await load(name);
    const root = frame.contentDocument.documentElement;
    const wide = [...root.querySelectorAll("body *")].filter(
      each => each.getBoundingClientRect().right > %(width)d + 1
        && !each.closest("pre, table, .highlight, .graphviz, aside"));
    found[name] = {
      window: frame.contentWindow.innerWidth,
      page: root.scrollWidth,
      headings: root.querySelectorAll("h1").length,
      wide: wide.slice(0, 3).map(each => each.outerHTML.slice(0, 100)),
    };
    frame.remove();
  }
  document.getElementById("found").textContent = JSON.stringify(found);
}
measure();
</script>
"""


@pytest.mark.browser
def test_no_page_scrolls_sideways_on_a_phone(tmp_path: Path) -> None:
    site = built("html", tmp_path)
    names = sorted(path.name for path in site.glob("*.html"))
    page = MEASURE % {"width": WIDTH, "names": json.dumps(names)}
    (site / "measure.html").write_text(page)

    document, console = shown(
        (site / "measure.html").as_uri(),
        tmp_path,
        "--virtual-time-budget=100000",
        # Otherwise scripts cannot look into frames.
        "--allow-file-access-from-files",
    )

    match = re.search(r'<pre id="found">(.+?)</pre>', document, re.S)
    assert match is not None, document[-2000:] + console
    found = json.loads(html.unescape(match[1]))
    assert found.keys() == {*names}
    assert len(names) >= len(list(SOURCE.glob("*.rst")))
    assert {seen["window"] for seen in found.values()} == {WIDTH}
    # A script adds the heading of the search page.
    bare = {name for name, seen in found.items() if not seen["headings"]}
    assert bare <= {"search.html"}
    assert {
        name: (seen["page"], seen["wide"])
        for name, seen in found.items()
        if seen["page"] > WIDTH or seen["wide"]
    } == {}
