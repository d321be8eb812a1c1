"""Prometheus' tool that checks its files."""

import subprocess

from tests.wanted import program


def promtool(*args: str) -> str:
    """Run promtool and return its output; fail unless it succeeds."""
    done = subprocess.run(
        [program("promtool"), *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output
