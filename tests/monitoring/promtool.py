"""Prometheus' own tool, which checks its files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def promtool(*args: str) -> str:
    """Run it; what it says. It has to be content.

    Skips the test without it, but not in CI.
    """
    # ./dev test puts it beside Python.
    beside = str(Path(sys.executable).parent)
    path = shutil.which("promtool") or shutil.which("promtool", path=beside)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [path, *args], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
