"""Prometheus' own tool, which checks its files."""

import subprocess

from tests.wanted import program


def promtool(*args: str) -> str:
    """Run it; what it says. It has to be content."""
    done = subprocess.run(
        [program("promtool"), *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
