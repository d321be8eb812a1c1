"""Pages in a real headless browser."""

import subprocess
from pathlib import Path

from tests.wanted import program

#: Maximum seconds to load a page on a busy machine.
TIMEOUT = 100


def browser() -> str:
    """Return a browser's path; without one skip the test, except in CI."""
    return program("chromium", "google-chrome")


def shown(url: str, profile: Path, *options: str) -> tuple[str, str]:
    """Load a page and return its document and console.

    :param profile: a folder for the browser's files
    :param options: more options of the browser
    :returns: the document as HTML, and the browser's log
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
