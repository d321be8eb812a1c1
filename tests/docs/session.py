"""Runs a page as a session, command by command."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.excused import excuse
from tests.docs.plain import UUID, like, loose, plain
from tests.docs.stage import Stage
from tests.docs.steps import Step, steps_of
from tests.jobservers import free_port
from tests.polling import until
from tests.wanted import program

TIMEOUT = 120.0
#: What differs from the page, but is the same in later commands.
_NAMES = re.compile(rf"{UUID.pattern}|127\.0\.0\.1:\d+")
_DEVICE = re.compile(rf"[\w-]+?-{UUID.pattern}")


class Session:
    """Runs commands and compares their output with the page.

    :param stage: where they run
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        #: Variables exported for all following commands.
        self._exports = ""
        #: The device that was printed last.
        self._device = ""

    def play(self, page: Path) -> None:
        """Run the commands of a page and write its files.

        :raises AssertionError: something differs from the page
        """
        for step in steps_of(page):
            if isinstance(step, Block):
                named = re.findall(r"``([\w-]+\.conf)``", step.before)
                if step.language == "ini" and named:
                    self._stage.write(named[-1], step.text)
            elif excuse(step) is None:
                self.type(step)

    def type(self, step: Step) -> None:
        """Run a command and compare what it prints.

        :raises AssertionError: it prints something else
        """
        if step.fresh:
            self._exports = ""
        if step.command.startswith("export "):
            self._exports += f"{step.command}\n"
            return
        printed = self._start(step) if step.stays else self._run(step)
        if step.shown:
            self._compare(step, printed)
        self._device = (_DEVICE.findall(printed) or [self._device])[-1]

    def _run(self, step: Step) -> str:
        command = self._shell(f"set -o pipefail\n{self._real(step.command)}")
        if step.shows_progress:
            # Progress is shown on a terminal only.
            command = ["script", "-qec", shlex.join(command), "/dev/null"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._stage.folder,
            env=self._environment(),
            timeout=TIMEOUT,
            check=False,
        )
        if not step.shown or step.shows_progress:
            assert done.returncode == 0, f"{step}\n{done.stdout}"
        return done.stdout

    def _start(self, step: Step) -> str:
        """Start a command that stays until the end of the page."""
        port = re.search(r"--port=(\d+)", step.command)
        if port:
            self._stage.names[port[1]] = str(free_port())
        log = self._stage.folder / f"log-{step.line}"
        with log.open("w") as file:
            process = subprocess.Popen(
                self._shell(f"exec {self._real(step.command.rstrip('& '))}"),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self._stage.folder,
                env=self._environment(),
            )

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            code = process.wait(TIMEOUT)
            ended_well = code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
            assert ended_well, (
                f"{step}: it ended with {code}: {log.read_text()}"
            )

        self._stage.stack.callback(process.kill)
        self._stage.stack.callback(end)
        sign = "registered" if "worker" in step.command else ""
        lines = 0 if port else step.shown.count("\n") + 1
        until(
            lambda: (
                (
                    sign in log.read_text()
                    and log.read_text().count("\n") >= lines
                )
                or process.poll() is not None
            ),
            TIMEOUT,
        )
        return log.read_text()

    def _real(self, command: str) -> str:
        """Return a command with real names in place of the page's."""
        text = self._stage.real(command)
        text = re.sub(r"\blibra-\.\.\.|\bNAME\b", self._device, text)
        return re.sub(r"(?<!\S)[~\w./-]*/bin/(?=python|poolmgr)", "", text)

    def _compare(self, step: Step, printed: str) -> None:
        output = printed
        for shown, real in self._stage.names.items():
            output = output.replace(real, shown)
        alike = loose if self._stage.numbers_differ else plain
        found = re.search if step.shows_progress else re.fullmatch
        assert found(like(alike(step.shown)), alike(output)), (
            f"{step}\nprints:\n{printed}\nthe same as:\n{alike(output)}"
        )
        for is_shown, is_real in zip(
            _NAMES.findall(step.shown), _NAMES.findall(printed), strict=False
        ):
            self._stage.names.setdefault(is_shown, is_real)

    def _shell(self, command: str) -> list[str]:
        for name in {"curl", "gearmand"} & {*re.findall(r"\w+", command)}:
            program(name)
        return ["bash", "-c", f"{self._exports}{command}"]

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "TERM": "xterm"}
        return {**os.environ, **self._stage.variables, **own}
