"""The manual page covers the whole command line."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from poolmgr.cli.app import PoolmgrApp
from tests.docs.builds import built

# The first test builds all pages.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build ``poolmgr.1``, without graphviz: it has no diagram."""
    # CI runs this where it builds the documentation.
    folder = tmp_path_factory.mktemp("manual")
    return built("man", folder, PATH=str(folder)) / "poolmgr.1"


def test_every_command_and_option_is_documented(page: Path) -> None:
    text = page.read_text().replace("\\-", "-").replace("\\(aq", "'")
    app = PoolmgrApp()

    for name in sorted(app.command_manager.commands):
        assert f"\n.SS {name}\n" in text
        factory, found, _rest = app.command_manager.find_command(name.split())
        parser = factory(app, None, cmd_name=found).get_parser(name)
        for option in parser._option_string_actions:
            if option not in ("-h", "--variable"):
                assert f"{option}" in text, (name, option)
    for option in app.parser._option_string_actions:
        assert option in text
    assert "SUPPRESS" not in text
    assert "<>" not in text
    assert "%(" not in text
    sections = re.findall(r'^\.SH "?(.+?)"?$', text, re.MULTILINE)
    assert sections[:3] == ["NAME", "SYNOPSIS", "OPTIONS"]
    assert {"EXIT CODES", "ENVIRONMENT", "FILES"} <= {*sections}


def test_it_can_be_parsed(page: Path) -> None:
    if (man := shutil.which("man")) is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        [man, "--warnings", "-l", str(page)],
        env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "40"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    # man cannot always justify narrow lines; other warnings are faults.
    wrong = [x for x in done.stderr.splitlines() if "adjust" not in x]
    assert wrong == []
    assert "NAME" in done.stdout
