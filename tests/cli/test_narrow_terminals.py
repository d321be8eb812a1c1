"""Tests of lists on terminals that are too narrow for all columns."""

import re

import pytest

from tests.processes import poolmgr
from tests.terminals import terminal

NAME = r"libra-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def filled(cloud: dict[str, str]) -> dict[str, str]:
    """Return the environment of a cloud of three devices and an IP."""
    poolmgr("build-device", "--count", "3", **cloud)
    poolmgr("build-ip", **cloud)
    return cloud


def screen(cloud: dict[str, str], columns: int, *args: str) -> list[str]:
    """Return the lines that a command leaves on a terminal."""
    with terminal(*args, columns=columns, rows=50, environment=cloud) as shown:
        shown.exit_code()
        return shown.lines


def count_names(lines: list[str]) -> int:
    """Count the lines with the whole name of a device."""
    return sum(bool(re.search(rf"\| {NAME} \|", line)) for line in lines)


def test_each_device_has_one_line_and_omitted_columns_are_named(
    filled: dict[str, str],
) -> None:
    lines = screen(filled, 80, "device", "list")

    assert count_names(lines) == 3
    # Borders, header, and the line about omitted columns.
    assert len(lines) == 3 + 4 + 1
    assert re.findall(r"\w+", lines[1]) == ["Name", "Status", "Address", "Age"]
    assert lines[-1] == (
        "poolmgr: not shown: State, Job, ID; use -c COLUMN or -f json"
    )


@pytest.mark.parametrize("columns", [60, 40, 20])
def test_the_most_important_column_is_never_omitted(
    filled: dict[str, str], columns: int
) -> None:
    lines = screen(filled, columns, "ip", "list")

    text = "".join(line.strip("|") for line in lines)
    assert "Address" in text
    assert "198.18.0.1" in text.replace(" ", "").replace("|", "")


def test_a_wide_terminal_shows_all_columns(filled: dict[str, str]) -> None:
    lines = screen(filled, 200, "device", "list")

    assert count_names(lines) == 3
    assert re.findall(r"\w+", lines[1]) == [
        *("Name", "Status", "Address", "Age", "State", "Job", "ID")
    ]
    assert "not shown" not in lines[-1]


def test_requested_columns_are_never_omitted(filled: dict[str, str]) -> None:
    lines = screen(
        filled, 80, "device", "list", "-c", "Name", "-c", "Job", "-c", "ID"
    )

    assert re.findall(r"\w+", lines[1]) == ["Name", "Job", "ID"]


def test_a_pipe_gets_all_columns(filled: dict[str, str]) -> None:
    done = poolmgr("device", "list", **filled)

    assert "| Job " in done.stdout
    assert done.stderr == ""


def test_each_build_of_a_count_has_one_line(filled: dict[str, str]) -> None:
    lines = screen(filled, 80, "build-device", "--count", "4")

    assert count_names(lines) == 4
    assert lines[-1].startswith("poolmgr: not shown: type, az; ")


def test_the_reason_of_a_failed_build_is_always_shown(
    filled: dict[str, str],
) -> None:
    limited = {**filled, "OS_FAKE__DEVICE_QUOTA": "4"}

    lines = screen(limited, 80, "--quiet", "build-device", "--count", "2")

    text = " ".join(lines)
    assert "FAIL" in text
    assert "quota" in text
    assert "error" in text
