"""The documentation, built by Sphinx."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import SOURCE


def sphinx(
    builder: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build all pages from scratch into ``folder / builder``.

    Warnings do not stop the build, but make its exit code 1.
    """
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
        + ["-b", builder, "-d", str(folder / "cache"), str(SOURCE)]
        + [str(folder / builder)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )


def built(builder: str, folder: Path, **environment: str) -> Path:
    """Build all pages without a warning and return their folder."""
    done = sphinx(builder, folder, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / builder
