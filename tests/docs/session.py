"""Runs a page as a session, command by command."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.excused import excuse
from tests.docs.plain import UUID, like, loose, plain
from tests.docs.stage import Stage
from tests.docs.steps import Step
from tests.jobservers import free_port
from tests.polling import until
from tests.terminals import terminal
from tests.wanted import go_without

TIMEOUT = 120.0
_PLACE = re.compile(r"127\.0\.0\.1:\d+")
_DEVICE = re.compile(rf"[\w-]+?-{UUID.pattern}")
_SYSTEM = re.compile(r"(?<![\w./])/(?=(etc|opt|srv|var)/)")


class Session:
    """Runs commands and compares their output with the page.

    :param stage: the environment of the commands
    :param stack: ends background processes
    """

    def __init__(self, stage: Stage, stack: ExitStack) -> None:
        self._stage = stage
        self._stack = stack
        self._background: list[_Background] = []
        #: Variables exported for all following commands.
        self._exports = ""
        #: The device that was printed last.
        self._device = ""

    def play(self, steps: Iterable[Step | Block]) -> list[str]:
        """Run the commands and write the files of a page.

        :returns: the differences
        """
        problems = []
        for step in steps:
            if isinstance(step, Block):
                self._stage.meet(step)
            elif problem := self._type(step):
                problems.append(f"{step.where}: $ {step.command}\n{problem}")
        ended = [each.end() for each in reversed(self._background)]
        return [*problems, *filter(None, ended)]

    def _type(self, step: Step) -> str | None:
        if any(excuse(words, step.command) for words in step.simple):
            return None
        if step.fresh:
            self._exports = ""
        if step.command.startswith("export "):
            self._exports += f"{step.command}\n"
            return None
        if self._stage.on_terminal and step.shown:
            return self._on_terminal(step)
        words = step.simple[0]
        if (
            step.command.endswith("&")
            or (words[-1] == "worker" and not step.shown)
            or "--watch" in words
            or "poolmgr.testing.openstack" in words
        ):
            return self._start(step)
        return self._run(step)

    def _run(self, step: Step) -> str | None:
        done = subprocess.run(
            self._shell(f"set -o pipefail\n{self._real(step.command)}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._stage.folder,
            env=self._environment(),
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode and not step.shown:
            return f"it ends with {done.returncode}: {done.stdout}"
        return self._compare(step, done.stdout)

    def _start(self, step: Step) -> str | None:
        command = step.command.rstrip("& ")
        if port := re.search(r"--port=(\d+)", command):
            self._stage.bind(port[1], str(free_port()))
        log = self._stage.folder / f"log-{step.line}"
        with log.open("w") as file:
            process = subprocess.Popen(
                self._shell(f"exec {self._real(command)}"),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self._stage.folder,
                env=self._environment(),
            )
        running = _Background(process, log)
        self._background.append(running)
        self._stack.callback(running.kill)
        sign = "registered" if "worker" in command else ""
        lines = 0 if port else step.shown.count("\n") + 1
        until(lambda: running.has_printed(sign, lines), TIMEOUT)
        return self._compare(step, log.read_text())

    def _on_terminal(self, step: Step) -> str | None:
        wanted = [*filter(None, loose(step.shown).splitlines())]
        change_folder = f"cd {shlex.quote(str(self._stage.folder))}"
        with terminal(
            command=self._shell(
                f"{change_folder}; {self._real(step.command)}"
            ),
            columns=100,
            environment=self._environment() | {"TERM": "xterm"},
        ) as shown:

            def seen() -> bool:
                text = loose(self._stage.shown(shown.text))
                lines = [*filter(None, text.splitlines())]
                return lines[-len(wanted) :] == wanted

            try:
                shown.wait_for(seen)
            except AssertionError:
                return f"it shows:\n{shown.text}"
        return None

    # -- names of the page and real names -------------------------------------

    def _real(self, command: str) -> str:
        """Return a command with real names in place of the page's."""
        text = self._stage.real(command)
        text = re.sub(r"\blibra-\.\.\.|\bNAME\b", self._device, text)
        text = re.sub(r"(?<!\S)[~\w./-]*/bin/(?=python|poolmgr)", "", text)
        for path in re.findall(r">\s*(/\S+)", text):
            self._stage.at_root(path).parent.mkdir(parents=True, exist_ok=True)
        return _SYSTEM.sub(f"{self._stage.root}/", text)

    def _compare(self, step: Step, printed: str) -> str | None:
        output = printed.replace(str(self._stage.root), "")
        output = self._stage.shown(output)
        self._device = (_DEVICE.findall(printed) or [self._device])[-1]
        if not step.shown:
            return None
        alike = loose if self._stage.numbers_differ else plain
        if not re.fullmatch(like(alike(step.shown)), alike(output)):
            return f"it prints:\n{printed}\nthe same as:\n{alike(output)}"
        for pattern in (UUID, _PLACE):
            for is_shown, is_real in zip(
                pattern.findall(step.shown),
                pattern.findall(printed),
                strict=False,
            ):
                self._stage.bind(is_shown, is_real)
        return None

    def _shell(self, command: str) -> tuple[str, ...]:
        for name in ("curl", "gearmand"):
            path = self._environment()["PATH"]
            if name in command and not shutil.which(name, path=path):
                go_without(name)
        return ("bash", "-c", f"{self._exports}{command}")

    def _environment(self) -> dict[str, str]:
        own = str(Path(sys.executable).parent)
        common = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OS_", "XDG_"))
        }
        path = f"{own}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
        return {**common, **self._stage.variables, "PATH": path}


class _Background:
    """A command in the background."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def has_printed(self, sign: str, lines: int) -> bool:
        """Return whether it has printed a text or has ended."""
        text = self._log.read_text()
        enough = sign in text and len(text.splitlines()) >= lines
        return enough or self._process.poll() is not None

    def end(self) -> str | None:
        """End it and return what is wrong with its end."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(TIMEOUT)
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            return f"it ended with {code}: {self._log.read_text()}"
        return None

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait(TIMEOUT)
