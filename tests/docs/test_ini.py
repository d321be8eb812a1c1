"""Every configuration file on a page is valid."""

import configparser
import importlib
import re
from pathlib import Path
from typing import Any

from poolmgr.config.configuration import Configuration
from poolmgr.config.remarks import ignored_options
from poolmgr.settings import options_of
from tests.docs.blocks import Block, blocks, blocks_of, of
from tests.docs.programs import problem

#: Files of other programs, by a section or option that only they have.
OTHERS = {
    "[options.entry_points]": "setup.cfg",
    "[Service]": "systemd",
    "connect = ": "stunnel",
}


def dialect(block: Block) -> str:
    """Return the program that a file is for."""
    for sign, whose in OTHERS.items():
        if sign in block.text:
            return whose
    return "poolmgr"


def whose(*names: str) -> list[Block]:
    found = blocks("ini", "systemd", "cfg")
    return [block for block in found if dialect(block) in names]


def read(block: Block) -> configparser.ConfigParser:
    """Parse another program's file, in which options may repeat."""
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, delimiters="="
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(f"[before]\n{block.text}")
    return parser


def plain(value: object) -> str:
    """Return a setting's value as written in a file."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(str, value))
    return str(value)


def configured(block: Block, folder: Path) -> Configuration:
    path = folder / "poolmgr.conf"
    path.write_text(block.text)
    return Configuration([str(path)], alone=True)


def test_some_are_found() -> None:
    assert len(whose("poolmgr")) >= 8


def settings_of(conf: Configuration, group: str) -> dict[str, Any]:
    """Return the values of a group by option name."""
    found: dict[str, Any] = {}
    for name, settings in conf.groups():
        if name == group:
            # It raises an error if a value is wrong.
            group_settings = conf.group(group, settings)
            for option in options_of(group, settings):
                found[option.name] = getattr(group_settings, option.name)
    return found


@of(whose("poolmgr"))
def test_options_and_values_are_valid(block: Block, tmp_path: Path) -> None:
    conf = configured(block, tmp_path)
    written = configparser.ConfigParser(interpolation=None)
    written.read_string(block.text)

    assert written.sections()
    for group in written.sections():
        settings = settings_of(conf, group)
        assert settings, f"{block.where}: there is no group [{group}]"
        for name, value in written[group].items():
            where = f"{block.where}: [{group}] {name}"
            assert name in settings, f"{where}: there is no such option"
            shown = re.sub(r"\s*,\s*", ", ", value)
            assert plain(settings[name]) == shown, where
    assert ignored_options(conf) == {}


@of(whose("setup.cfg"))
def test_entry_points_can_be_imported(block: Block) -> None:
    """They name an importable object, or a class defined on the page."""
    programs = "".join(b.text for b in blocks_of(block.page, "python"))
    points = read(block)["options.entry_points"]

    assert points.keys() <= {"poolmgr.actions", "poolmgr.drivers"}
    for text in points.values():
        for line in text.strip().splitlines():
            found = re.fullmatch(r"\w+ = ([\w.]+):(\w+)", line)
            assert found is not None, line
            if f"class {found[2]}(" not in programs:
                assert getattr(importlib.import_module(found[1]), found[2])


@of(whose("systemd"))
def test_units_start_existing_commands(block: Block) -> None:
    unit = read(block)

    assert set(unit.sections()) <= {"before", "Unit", "Service", "Install"}
    starts = re.findall(r"^ExecStart=\S*/poolmgr (.*)$", block.text, re.M)
    for line in starts:
        assert problem(line) is None
    assert len(starts) == len(re.findall(r"^ExecStart=.", block.text, re.M))


@of(whose("stunnel"))
def test_stunnel_services_are_complete(block: Block) -> None:
    """test_tls_page runs them."""
    for name, service in read(block).items():
        if name not in ("DEFAULT", "before"):
            assert {"accept", "connect", "cert", "key"} <= service.keys()
