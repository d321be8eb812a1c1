"""Tests of completion in real shells on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.environments import plugin_beside
from tests.processes import poolmgr
from tests.terminals import Terminal, terminal
from tests.wanted import program

PROMPT = "ready>"
#: How a shell loads its script.
LOAD = {
    "bash": ". ./bash",
    "zsh": 'autoload -U compinit; compinit -u; eval "$(cat zsh)"',
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts for all shells."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in ("bash", "zsh", "fish", "tcsh"):
        done = poolmgr("complete", "--shell", shell)
        assert (done.returncode, done.stderr) == (0, "")
        (folder / shell).write_text(done.stdout)
    (folder / "libra.cfg").write_text("")
    (folder / "libra two.cfg").write_text("")
    return folder


@contextmanager
def shell(name: str, scripts: Path) -> Iterator[Terminal]:
    """Run an interactive shell that has loaded its script."""
    path = program(name)
    options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[name]
    with terminal(
        command=[path, *options, "-i"],
        columns=160,
        environment={
            "PS1": PROMPT,
            "HOME": str(scripts),
            # zsh keeps a cache there.
            "ZDOTDIR": str(scripts),
        },
    ) as shown:
        shown.wait_for(lambda: PROMPT in shown.text)
        shown.type(f"cd {scripts}; {LOAD[name]}; clear; echo loa''ded\r")
        shown.wait_for(lambda: "loaded" in shown.text)
        yield shown


#: Typed text, and the completed command line.
COMPLETED = {
    "buil\tdev\t": "build-device",
    "device list --status act\t": "device list --status active",
    "device list -c add\t": "device list -c address",
    "ip list -c att\t": "ip list -c attached_to",
    "--driver fa\t build-i\t": "--driver fake build-ip",
    "build-ip --driver no\t": "build-ip --driver nova",
    "build-device --cou\t": "build-device --count",
    "config con\tlibra.\t": "config convert libra.cfg",
    "--config-file libra.\t": "--config-file libra.cfg",
    "--quiet stat\t --wat\t": "--quiet status --watch",
    "status --log-for\t j\t": "status --log-format json",
    "complete --shell z\t": "complete --shell zsh",
}
#: Typed text, and some of the words offered.
OFFERED = {
    "\t\t": {"assign-ip", "build-device", "device", "worker"},
    "device \t\t": {"list", "show"},
    "--driver \t\t": {"fake", "nova"},
    "build-device --\t\t": {"--count", "--format", "--quote"},
    "build-device -f \t\t": {"csv", "json", "yaml"},
    "--\t\t": {"--config-file", "--driver", "--version"},
}
#: Keys that clear the line and the screen.
CLEAR = "\x15\x0c"


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_word_is_completed(scripts: Path, name: str) -> None:
    with shell(name, scripts) as shown:
        for typed, completed in COMPLETED.items():
            shown.type(f"{CLEAR}poolmgr {typed}")
            line = f"{PROMPT}poolmgr {completed}"
            shown.wait_for(partial(_ends_with, shown, line))


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_all_possible_words_are_offered(scripts: Path, name: str) -> None:
    with shell(name, scripts) as shown:
        for typed, offered in OFFERED.items():
            shown.type(f"{CLEAR}poolmgr {typed}")
            shown.wait_for(partial(_offers, shown, offered))


def _ends_with(shown: Terminal, line: str) -> bool:
    return bool(shown.lines) and " ".join(shown.lines[-1].split()) == line


def _offers(shown: Terminal, offered: set[str]) -> bool:
    return offered <= set(shown.text.split())


def test_words_after_a_file_name_with_a_blank_are_completed(
    scripts: Path,
) -> None:
    (scripts / "device").mkdir(exist_ok=True)
    with shell("bash", scripts) as shown:
        shown.type("poolmgr --config-file libra\\ two.cfg devi\tli\t")

        line = f"{PROMPT}poolmgr --config-file libra\\ two.cfg device list"
        shown.wait_for(lambda: shown.lines[-1] == line)


def test_free_text_is_not_completed(scripts: Path) -> None:
    with shell("bash", scripts) as shown:
        for typed in (
            "--gearman-server ",
            "delete-device ",
            "submit --unique ",
        ):
            shown.type(f"poolmgr {typed}\t\t#\r")

        shown.type("echo en''d\r")
        shown.wait_for(lambda: "end" in shown.lines)
        assert "list" not in shown.text
        assert "assign-ip" not in shown.text
        assert "libra.cfg" not in shown.text


def test_a_command_with_another_name_is_completed(scripts: Path) -> None:
    done = poolmgr("complete", "--name", "pool-2")
    assert done.returncode == 0
    (scripts / "bash-2").write_text(done.stdout)
    with shell("bash", scripts) as shown:
        shown.type(". ./bash-2; clear; echo aga''in\r")
        shown.wait_for(lambda: "again" in shown.text)

        shown.type("pool-2 rea\t")

        shown.wait_for(lambda: shown.lines[-1] == f"{PROMPT}pool-2 reap")


def test_actions_and_drivers_of_plugins_are_completed(tmp_path: Path) -> None:
    plugin = plugin_beside(
        tmp_path,
        "raise AssertionError('completion must not import plugins')",
        poolmgr__actions=(
            "BREAK = stranger:Break\nPING_DEVICE = stranger:Ping\n"
            "'; reboot = stranger:Reboot"
        ),
        poolmgr__drivers="rack = stranger:Rack",
    )

    done = poolmgr(
        "complete",
        PYTHONPATH=str(plugin),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )

    assert (done.returncode, done.stderr) == (0, "")

    assert "ping-device" in done.stdout
    assert "rack" in done.stdout
    assert "reboot" not in done.stdout
