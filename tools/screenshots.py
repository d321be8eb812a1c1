"""Takes the screenshots in the documentation.

``python -m tools.screenshots`` in the sources; needs gearmand and Chromium.  A
worker on the fake cloud runs jobs for some minutes, so that the page's chart
has bars.
"""

import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from tests.browser import browser
from tests.jobservers import free_port, gearmand
from tests.processes import worker
from tests.terminals import Terminal, terminal

FOLDER = Path("doc/source/_static")
SECONDS = 240
CONFIG = """
[fake]
boot_time = 12
boot_spread = 8
call_time = 0.05
boot_failure_rate = 0.03
[worker]
long_jobs = 10
[monitoring]
port = {port}
"""


async def send_jobs(server: Address, seconds: float) -> None:
    """Send short jobs, and more builds than the worker can run at once."""
    async with Client([server]) as client:
        end = time.monotonic() + seconds
        for number in itertools.count():
            build = number % 3 == 0
            action = "BUILD_DEVICE" if build else "BUILD_IP"
            await client.submit(
                "libra_pool_mgm",
                json.dumps({"action": action}).encode(),
                background=True,
            )
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.6)


def text_of(shown: Terminal, columns: int, rows: int) -> Text:
    """Return the contents of a terminal with colours."""
    text = Text()
    for y in range(rows):
        for x in range(columns):
            cell = shown.screen.buffer[y][x]
            color = None if cell.fg == "default" else cell.fg
            text.append(cell.data, Style(color=color, bold=cell.bold))
        text.append("\n")
    return text


def show_terminal(*servers: Address) -> None:
    """Take a screenshot of ``poolmgr status --watch``.

    :param servers: job servers; the last one is down
    """
    columns, rows = 72, 6
    args = [f"--gearman-server={server}" for server in servers]
    with terminal(
        *args, "status", "--watch", columns=columns, rows=rows
    ) as shown:
        # The first view does not show the growth of the queue.
        shown.wait_for(lambda: re.search(r"pool_mgm.*[+-]\d", shown.text))
        shown.wait_for(lambda: "DOWN" in shown.text)
        text = text_of(shown, columns, rows)
    console = Console(record=True, width=columns, file=sys.stderr)
    console.print(text)
    svg = console.export_svg(title="poolmgr status --watch")
    # The documentation loads no external files, such as fonts.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (FOLDER / "status-watch.svg").write_text(svg)


def show_page(url: str, profile: Path) -> None:
    """Take a screenshot of the status page."""
    subprocess.run(
        [
            browser(),
            *("--headless", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", "--window-size=900,1000"),
            f"--user-data-dir={profile}",
            f"--screenshot={FOLDER / 'status-page.png'}",
            url,
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )


def main() -> None:
    """Take both screenshots."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as name,
        gearmand() as server,
        gearmand() as down,
    ):
        down.kill()
        config, folder = CONFIG.format(port=port), Path(name)
        enabled = {"OS_MONITORING__ENABLED": "true"}
        with worker([str(server.address)], config, folder, **enabled):
            asyncio.run(send_jobs(server.address, SECONDS))
            show_terminal(server.address, down.address)
            show_page(f"http://127.0.0.1:{port}/", folder / "browser")


if __name__ == "__main__":
    main()
