"""The HTML reference is complete."""

import html
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import poolmgr
import poolmgr.testing
from poolmgr import errors
from poolmgr.actions.base import action_plugins
from poolmgr.cli import app
from poolmgr.config.options import list_opts
from poolmgr.drivers.verbs import driver_plugins
from poolmgr.worker.service import EXIT_DRAINED, EXIT_STOPPED_JOBS
from tests.docs.blocks import SOURCE
from tests.docs.builds import built
from tests.wanted import program

# The first test builds all pages.
pytestmark = pytest.mark.timeout(1200)

Page = Callable[[str], str]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Build a page and return its HTML."""
    program("dot", package="graphviz")
    folder = built("html", tmp_path_factory.mktemp("reference"))
    return lambda name: (folder / f"{name}.html").read_text()


def plain(text: str) -> str:
    """Return the text of HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def ids(text: str) -> set[str]:
    """Return the link targets."""
    return {*re.findall(r' id="([^"]+)"', text)}


def test_every_option_is_shown_with_its_help_and_old_names(page: Page) -> None:
    shown, migration = page("options"), plain(page("migration"))
    help_text = " ".join(plain(shown).split())

    for group, options in list_opts():
        for option in options:
            assert f"{group}.{option.name}" in ids(shown)
            assert " ".join(str(option.help).split())[:40] in help_text
            for old in option.deprecated_opts:
                assert f"[{old.group}] {old.name}" in migration


def test_every_action_and_driver_is_shown(page: Page) -> None:
    shown = page("plugins")

    for plugins in (action_plugins(), driver_plugins()):
        for name in plugins.names():
            summary = (plugins.load(name).__doc__ or "").splitlines()[0]
            # The heading is followed by the description.
            assert re.search(rf"<h\d>{name}<", shown), name
            assert summary in plain(shown)


def test_every_error_is_shown_with_its_code(page: Page) -> None:
    shown = page("errors")

    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.PoolmgrError):
            assert f">{error.code}<" in shown
            assert f"poolmgr.errors.{name}" in ids(shown)


def test_every_public_name_is_shown(page: Page) -> None:
    shown = page("library") + page("plugins") + page("errors")
    # Under its defining module or its public name.
    last = {each.rpartition(".")[2] for each in ids(shown)}

    for package in (poolmgr, poolmgr.testing):
        assert {*package.__all__} - {*last, "__version__"} == set(), package


def test_every_exit_code_is_shown() -> None:
    codes = {EXIT_DRAINED, 1, app.EXIT_USAGE, app.EXIT_SIGPIPE}
    codes |= {EXIT_STOPPED_JOBS, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    codes |= {128 + signal.SIGHUP}
    page = (SOURCE / "commands.rst").read_text()
    section = page.partition("Exit codes\n")[2].partition("\n---")[0]

    listed = re.findall(r"^([\d, ]+)$", section, re.MULTILINE)

    assert {int(each) for text in listed for each in text.split(",")} == codes


def test_a_missing_dot_is_reported_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        built("html", tmp_path, PATH=str(tmp_path))

    assert str(caught.value).startswith(
        "the diagrams need dot, which is not installed; on Debian: "
        "apt-get install graphviz\n"
    )
