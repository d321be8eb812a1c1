"""A page is a session: its commands are typed one after the other."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.docs.blocks import Block
from tests.docs.excused import excuse
from tests.docs.plain import UUID, like, loose, plain
from tests.docs.programs import fault
from tests.docs.stage import Stage
from tests.docs.steps import Step
from tests.forkserver import Started, start
from tests.jobservers import free_port
from tests.polling import until
from tests.terminals import terminal
from tests.wanted import go_without

#: What is run besides poolmgr.
RUN = {
    "curl",
    "export",
    "grep",
    "gearmand",
    "mkdir",
    "poolmgr",
    "python",
    "source",
}
PATIENCE = 30.0
_PLACE = re.compile(r"127\.0\.0\.1:\d+")
_DEVICE = re.compile(rf"[\w-]+?-{UUID.pattern}")
_SYSTEM = re.compile(r"(?<![\w./])/(?=(etc|opt|srv|var)/)")


class Session:
    """Types commands, and compares what they print with what is shown.

    :param stage: the place where
    :param stack: ends what goes on
    """

    def __init__(self, stage: Stage, stack: ExitStack) -> None:
        self._stage = stage
        self._stack = stack
        self._variables = dict(stage.variables)
        self._background: list[_Running] = []
        #: The last device that was told of.
        self._device = ""

    def meet(self, block: Block) -> None:
        """A block that is no command; a file is written if it is one."""
        self._stage.meet(block)

    def problem(self, step: Step) -> str | None:
        """Type a command; what is wrong with it, None if nothing is."""
        for words in step.simple:
            found = self._stage.knows(words) or fault(words)
            if found:
                return found
        excused = [excuse(words, step.command) for words in step.simple]
        if any(excused):
            self._stage.instead(step, self._real(step.command))
            return None
        for name, *_rest in step.simple:
            if name not in RUN:
                return f"{name} is neither run nor in the table of excused.py"
            self._need(name)
        self._stage.before(step)
        if step.fresh:
            self._variables = dict(self._stage.variables)
        return self._typed(step)

    def end(self) -> str | None:
        """End what goes on; what is wrong with how it ends."""
        problems = [each.ended() for each in reversed(self._background)]
        return "; ".join(filter(None, problems)) or None

    def _need(self, name: str) -> None:
        """Skip the page without a program that it uses, but not in CI."""
        path = self._environment()["PATH"]
        if name in ("curl", "gearmand") and not shutil.which(name, path=path):
            go_without(name)

    # -- typing -------------------------------------------------------------

    def _typed(self, step: Step) -> str | None:
        if step.command.startswith("export "):
            return self._export(step.command)
        if self._stage.is_terminal(step):
            return self._on_terminal(step)
        if self._goes_on(step):
            return self._start(step)
        return self._run(step)

    def _goes_on(self, step: Step) -> bool:
        words = step.simple[0]
        return (
            step.command.endswith("&")
            or (words[-1] == "worker" and not step.shown)
            or "--watch" in words
            or "poolmgr.testing.openstack" in words
        )

    def _export(self, command: str) -> str | None:
        done = self._shell(f"{command}\nenv -0")
        variables = done.split("\0")[:-1]
        for name in re.findall(r"(\w+)=", command):
            (value,) = (v for v in variables if v.startswith(f"{name}="))
            self._variables[name] = value.partition("=")[2]
        return None

    def _run(self, step: Step) -> str | None:
        with tempfile.TemporaryFile("w+") as output:
            process = self._begin(
                self._real(step.command), output, "set -o pipefail\n"
            )
            try:
                code = process.wait(PATIENCE)
            finally:
                process.kill()
            output.seek(0)
            printed = output.read()
        if not step.shown and code:
            return f"it ends with {code}: {printed}"
        return self._compared(step, printed)

    def _begin(self, command: str, output: IO[str], before: str) -> Started:
        """Start a command, without a shell if it needs none.

        :param before: what the shell is told before it
        """
        folder, environment = self._stage.folder, self._environment()
        words = shlex.split(command)
        if words[0] == "poolmgr" and not set(command) & set("|&;<>()$`*?~\\"):
            with open(os.devnull) as null:
                files = (null.fileno(), output.fileno(), output.fileno())
                return start(words[0], words[1:], environment, files, folder)
        return subprocess.Popen(
            ["bash", "-c", f"{before}{command}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )

    def _shell(self, command: str) -> str:
        return subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=self._environment(),
            check=True,
        ).stdout

    def _start(self, step: Step) -> str | None:
        command = step.command.rstrip("& ")
        if port := re.search(r"--port=(\d+)", command):
            self._stage.bind(port[1], str(free_port()))
        log = self._stage.folder / f"log-{step.line}"
        with log.open("w") as file:
            process = self._begin(self._real(command), file, "exec ")
        running = _Running(process, log)
        self._background.append(running)
        self._stack.callback(running.kill)
        wanted = step.shown.splitlines()
        sign = "connected and registered" if "worker" in command else ""
        try:
            until(lambda: running.is_there(sign, len(wanted), port), PATIENCE)
        except AssertionError:
            return f"it does not come on: {log.read_text()}"
        if pages := re.search(r"metrics on http://([\d.:]+)", log.read_text()):
            self._stage.bind("127.0.0.1:9473", pages[1])
        if step.shown:
            return self._compared(step, log.read_text())
        return running.problem()

    def _on_terminal(self, step: Step) -> str | None:
        wanted = loose(step.shown).splitlines()
        there = f"cd {shlex.quote(str(self._stage.folder))}"
        with terminal(
            command=("bash", "-c", f"{there}; {self._real(step.command)}"),
            columns=100,
            environment=self._environment() | {"TERM": "xterm"},
        ) as shown:

            def seen() -> bool:
                text = self._stage.shown(shown.text)
                lines = [*filter(None, loose(text).splitlines())]
                return lines[-len(wanted) :] == [*filter(None, wanted)]

            wanted = [*filter(None, wanted)]
            try:
                shown.wait_for(seen)
            except AssertionError:
                return f"it shows:\n{shown.text}"
        return None

    # -- what is shown, and what is real --------------------------------------

    def _real(self, command: str) -> str:
        """A command with what is real in place of what the page has."""
        text = self._stage.real(command)
        text = re.sub(r"\blibra-\.\.\.|\bNAME\b", self._device, text)
        text = re.sub(r"(?<!\S)[~\w./-]*/bin/(?=python|poolmgr)", "", text)
        for path in re.findall(r">\s*(/\S+)", text):
            self._stage.at_root(path).parent.mkdir(parents=True, exist_ok=True)
        return _SYSTEM.sub(f"{self._stage.root}/", text)

    def _compared(self, step: Step, printed: str) -> str | None:
        told = printed.replace(str(self._stage.root), "")
        told = self._stage.shown(told)
        self._device = (_DEVICE.findall(printed) or [self._device])[-1]
        if not step.shown:
            return None
        alike = loose if self._stage.counts(step) else plain
        if not re.fullmatch(like(alike(step.shown)), alike(told)):
            return f"it prints:\n{printed}\nthe same as:\n{alike(told)}"
        for pattern in (UUID, _PLACE):
            for is_shown, is_real in zip(
                pattern.findall(step.shown),
                pattern.findall(printed),
                strict=False,
            ):
                self._stage.bind(is_shown, is_real)
        return None

    def _environment(self) -> dict[str, str]:
        own = str(Path(sys.executable).parent)
        common = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OS_", "XDG_"))
        }
        path = f"{own}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
        return {**common, **self._variables, "PATH": path}


class _Running:
    """A command that goes on."""

    def __init__(self, process: Started, log: Path) -> None:
        self._process = process
        self._log = log

    def is_there(
        self, sign: str, lines: int, port: re.Match[str] | None
    ) -> bool:
        """Whether it has come so far, or has ended."""
        text = self._log.read_text()
        quiet = port is not None and self._process.poll() is None
        return self._process.poll() is not None or (
            sign in text
            and len(text.splitlines()) >= lines
            and (bool(text) or quiet)
        )

    def problem(self) -> str | None:
        """What is wrong if it has ended already."""
        if self._process.poll() is None:
            return None
        code = self._process.wait()
        return f"it ended with {code}: {self._log.read_text()}"

    def ended(self) -> str | None:
        """End it; what is wrong with how it ends."""
        if problem := self.problem():
            return problem
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE)
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            return f"it ended with {code}: {self._log.read_text()}"
        return None

    def kill(self) -> None:
        """Have it gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
