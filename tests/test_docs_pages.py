"""What the how-to pages show is accepted as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolmgr.manager import driver_plugins
from poolmgr.misspelt import misspelt
from poolmgr.options import Configuration
from tests.pages import blocks, commands, parsed, read

PAGES = ("flow", "scaling", "trouble")


def inis(text: str) -> list[str]:
    return blocks("ini", text)


def in_pages(found: Callable[[str], list[str]]) -> list[Any]:
    """What is found in the pages, named by page and number."""
    return [
        pytest.param(each, id=f"{page}-{number}")
        for page in PAGES
        for number, each in enumerate(found(read(page)), 1)
    ]


@pytest.mark.parametrize("text", in_pages(inis))
def test_configurations_are_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "poolmgr.conf"
    file.write_text(text)
    conf = Configuration([str(file)], alone=True)

    for group, settings in conf.groups(driver_plugins()):
        conf.group(group, settings)
    assert misspelt(conf, driver_plugins()) == []


@pytest.mark.parametrize("line", in_pages(commands))
def test_commands_parse(line: str) -> None:
    assert parsed(line) is not None
