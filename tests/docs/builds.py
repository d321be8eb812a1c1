"""The documentation, built by Sphinx."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import SOURCE


def built(builder: str, folder: Path, **environment: str) -> Path:
    """Build all pages from scratch and return their folder.

    :raises AssertionError: with what Sphinx has printed
    """
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
        + ["-D", "smartquotes=0", "-b", builder]
        + ["-d", str(folder / "cache"), str(SOURCE), str(folder / builder)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (done.returncode, output) == (0, ""), output
    return folder / builder
