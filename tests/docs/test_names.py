"""Options, tests and benchmarks that the pages name exist."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import ROWS
from poolmgr.config.options import list_opts
from tests.docs.blocks import ROOT, SOURCE, pages

NOVA = (SOURCE / "nova.rst").read_text()
#: Groups of other programs, and of example plugins.
NOT_OURS = {"Service", "Unit", "rack", "options.entry_points"}

#: Groups and names of all options, with the old ones.
OPTIONS = {
    key
    for group, options in list_opts()
    for option in options
    for key in (
        (group, option.name),
        *((old.group, old.name) for old in option.deprecated_opts),
    )
}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_named_options_exist(page: Path) -> None:
    """The forms are ``[group] option`` and ``OS_GROUP__OPTION``."""
    prose = " ".join(page.read_text().split())

    named = re.findall(r"``\[(\w+)\] (\w+)[^`*]*``", prose)
    variables = re.findall(r"\bOS_([A-Z]+)__([A-Z_]+[A-Z])\b", prose)
    named += [(group.lower(), name.lower()) for group, name in variables]
    for group, name in named:
        if group not in NOT_OURS and (group, name) != ("group", "option"):
            assert (group, name) in OPTIONS


def test_nova_options_in_tables_exist() -> None:
    for name in re.findall(r"^``(\w+)`` {2,}\S.*$", NOVA, re.MULTILINE):
        if not name.startswith(("nova_", "poolmgr_")) and name.islower():
            assert ("nova", name) in OPTIONS
    for name in re.findall(r"``(\w+_\w+)\s?=\s?\w+``", NOVA):
        assert ("nova", name) in OPTIONS


def test_every_guarantee_names_existing_tests() -> None:
    named = set(
        re.findall(r"``(test_\w+)``", (SOURCE / "promises.rst").read_text())
    )
    sources = "".join(
        path.read_text() for path in (ROOT / "tests").rglob("test_*.py")
    )
    defined = set(re.findall(r"^ *def (test_\w+)\(", sources, re.MULTILINE))

    assert len(named) >= 25
    assert named - defined == set()


def test_benchmark_results_are_of_existing_rows() -> None:
    page = (SOURCE / "results.rst").read_text()
    rows = re.findall(r"^``([\w-]+)`` {2,}", page, re.MULTILINE)

    assert {*rows} <= {*ROWS}
    assert len(rows) > 3
