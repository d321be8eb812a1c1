"""Checks of configuration files on the pages: poolmgr's and others'."""

import configparser
import importlib
import json
import re
from pathlib import Path

from tests.docs.blocks import Block, blocks_of
from tests.docs.programs import problem
from tests.processes import poolmgr


def check_file(block: Block, folder: Path) -> None:
    """Check a file as the program does that it is for."""
    if "[options.entry_points]" in block.text:
        check_entry_points(block)
    elif "[Service]" in block.text:
        check_unit(block.text)
    elif "connect = " not in block.text:  # test_tls_page.py runs stunnel
        check_options(block.text, folder)


def check_options(text: str, folder: Path) -> None:
    """Check that poolmgr knows all options and accepts their values."""
    path = folder / "poolmgr.conf"
    path.touch(mode=0o600)
    path.write_text(text)
    done = poolmgr(
        *("--config-file", str(path), "config", "show", "--set", "-f", "json"),
        HOME=str(folder),
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)

    assert (done.returncode, done.stderr) == (0, "")
    assert parser.sections()
    assert {(e["Group"], e["Option"]) for e in json.loads(done.stdout)} == {
        (group, name) for group in parser.sections() for name in parser[group]
    }


def check_entry_points(block: Block) -> None:
    """Check that they name an object, or a class defined on the page."""
    programs = "".join(b.text for b in blocks_of(block.page, "python"))
    _title, *lines = block.text.splitlines()
    for line in lines:
        if found := re.fullmatch(r" +\w+ = ([\w.]+):(\w+)", line):
            if f"class {found[2]}(" not in programs:
                assert getattr(importlib.import_module(found[1]), found[2])
        else:
            assert line in ("poolmgr.actions =", "poolmgr.drivers =")


def check_unit(text: str) -> None:
    """Check that a systemd unit starts existing commands."""
    assert {*re.findall(r"^\[(\w+)\]", text, re.M)} <= {"Unit", "Service"}
    for line in re.findall(r"^ExecStart=(.+)$", text, re.M):
        path, _, words = line.partition(" ")
        assert path.endswith("/poolmgr")
        assert problem(words) is None
