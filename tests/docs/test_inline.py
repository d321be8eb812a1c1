"""Commands within the text of a page can be parsed."""

import re
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.docs.blocks import pages
from tests.docs.programs import fault
from tests.docs.steps import Step

#: The start of a command in the text.
STARTS = ("poolmgr ", "./dev ", "python -m ")
#: A command that stands for several.
SEVERAL = re.compile(r"(\w+)\|(\w+)")


def commands() -> Iterator[ParameterSet]:
    """Return each command once per page, with page and line as its id."""
    for page in pages():
        text = page.read_text()
        for found in re.finditer(r"(?<!`)``([^`]+)``", text):
            command = " ".join(found[1].split())
            if command.startswith(STARTS):
                line = text.count("\n", 0, found.start()) + 1
                for one in _each(command):
                    step = Step(page, line, one)
                    yield pytest.param(step, id=f"{step.where} {one}")


def _each(command: str) -> list[str]:
    """Expand ``device list|show`` into both commands."""
    if found := SEVERAL.search(command):
        return [SEVERAL.sub(found[n], command, count=1) for n in (1, 2)]
    return [command]


@pytest.mark.parametrize("step", [*commands()])
def test_it_can_be_parsed(step: Step) -> None:
    for words in step.simple:
        problem = fault(words)
        # The text may omit required arguments.
        if problem and "the following arguments are required" not in problem:
            pytest.fail(f"{step.where}: {step.command}: {problem}")


def test_commands_are_found() -> None:
    assert len(list(commands())) >= 50
