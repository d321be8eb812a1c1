"""Pages in a real browser, without a screen."""

import subprocess
from pathlib import Path

from tests.wanted import program

#: Seconds that a page may take on a machine that does other things, too.
TIMEOUT = 100


def browser() -> str:
    """The path of one; skips the test without, but not in CI."""
    return program("chromium", "google-chrome")


def shown(url: str, profile: Path, *options: str) -> tuple[str, str]:
    """What a page is when it has been loaded, and its console.

    :param profile: a folder for what the browser keeps
    :param options: more of the browser's
    :returns: the document as HTML, and what the browser logged
    """
    done = subprocess.run(
        [
            browser(),
            *("--headless", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", "--disable-background-networking"),
            *("--dump-dom", f"--user-data-dir={profile}"),
            *(*options, "--enable-logging=stderr", url),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout, done.stderr
