"""The examples of the page on OpenStack work."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolmgr.drivers.nova import NovaSettings
from poolmgr.options import OBSOLETE, Configuration
from poolmgr.settings import DriverSettings, PoolSettings, rules
from tests.pages import blocks, commands, parsed, read

ROOT = Path(__file__).parent.parent
PAGE = read("nova")
README = (ROOT / "README.rst").read_text()


def table_with(header: str) -> list[list[str]]:
    """The literals in each row of the table whose header has this."""
    (table,) = (
        part for part in PAGE.split("\n\n") if header in part.split("\n")[1:2]
    )
    rows = table.split("\n")[3:-1]
    return [re.findall(r"``([^`]+)``", row) for row in rows]


def test_there_are_examples() -> None:
    assert len(blocks("ini", PAGE)) >= 4
    assert len(blocks("yaml", PAGE)) >= 1
    assert len(commands(PAGE)) >= 8


@pytest.mark.parametrize(
    "text", blocks("ini", PAGE) + blocks("ini", README)[:1]
)
def test_ini_is_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "poolmgr.conf"
    file.write_text(text)
    known = {f.name for f, _rule in rules(NovaSettings)}

    settings = Configuration([str(file)]).group("nova", NovaSettings)

    assert isinstance(settings, NovaSettings)
    for line in text.splitlines():
        if " = " in line:
            name, value = line.split(" = ")
            assert name in known
            given = getattr(settings, name)
            assert given in (value, tuple(re.split(", *", value)))


@pytest.mark.parametrize("text", blocks("yaml", PAGE))
def test_yaml_has_the_cloud(text: str) -> None:
    loaded: dict[str, Any] = yaml.safe_load(text)

    assert loaded["clouds"]["mycloud"]["auth"]["auth_url"]


@pytest.mark.parametrize("text", blocks("json", PAGE))
def test_json_parses(text: str) -> None:
    assert json.loads(text)["metadata"]["poolmgr_pool"] == "libra"


@pytest.mark.parametrize("line", commands(PAGE))
def test_commands_parse(line: str) -> None:
    assert parsed(line) is not None


def test_every_old_name_is_in_the_table() -> None:
    old = {
        old.removeprefix("mgm."): f.name
        for f, rule in rules(NovaSettings)
        for old in rule.old
    }

    rows = table_with("``[mgm]``            ``[nova]``")

    assert dict(rows) == old


def test_every_option_that_is_named_exists() -> None:
    """In the tables, and after ``[nova]`` or ``[poolmgr]``."""
    groups = {
        "nova": {f.name for f, _rule in rules(NovaSettings)},
        "poolmgr": {
            f.name
            for settings in (PoolSettings, DriverSettings)
            for f, _rule in rules(settings)
        },
    }
    prose = " ".join(PAGE.split())

    for group, name in re.findall(r"``\[(nova|poolmgr)\] (\w+)", prose):
        assert name in groups[group]
    for name in re.findall(r"^``(\w+)`` {2,}\S.*$", PAGE, re.MULTILINE):
        if not name.startswith(("nova_", "poolmgr_")) and name.islower():
            assert name in groups["nova"]
    for name in re.findall(r"``(\w+_\w+)\s?=\s?\w+``", PAGE):
        assert name in groups["nova"]


def test_nothing_obsolete_is_recommended() -> None:
    for where in OBSOLETE:
        assert where.partition(".")[2] not in PAGE.replace("poll", "")


PROMISES = read("promises")


def test_every_promise_is_shown_by_tests_that_there_are() -> None:
    named = set(re.findall(r"``(test_\w+)``", PROMISES))
    sources = "".join(
        path.read_text() for path in (ROOT / "tests").rglob("test_*.py")
    )
    defined = set(re.findall(r"^ *def (test_\w+)\(", sources, re.MULTILINE))

    assert len(named) >= 25
    assert named - defined == set()
