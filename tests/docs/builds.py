"""The documentation as Sphinx builds it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import SOURCE


def sphinx(
    builder: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build all pages anew, into ``folder / builder``.

    It goes on after a warning, and ends with 1 if there was one.
    """
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
        + ["-b", builder, "-d", str(folder / "cache"), str(SOURCE)]
        + [str(folder / builder)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=110,
        check=False,
    )


def built(builder: str, folder: Path, **environment: str) -> Path:
    """Where all pages are, built without a warning."""
    done = sphinx(builder, folder, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / builder
