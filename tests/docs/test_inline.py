"""Commands within the text of a page can be read, too."""

import re
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.docs.blocks import pages
from tests.docs.programs import fault
from tests.docs.steps import Step

#: What a command in the text begins with.
STARTS = ("poolmgr ", "./dev ", "python -m ")
#: Commands of a page, of which one names several.
SEVERAL = re.compile(r"(\w+)\|(\w+)")


def commands() -> Iterator[ParameterSet]:
    """Each once a page, named by page and line."""
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
    """Of ``device list|show`` both."""
    if found := SEVERAL.search(command):
        return [SEVERAL.sub(found[n], command, count=1) for n in (1, 2)]
    return [command]


@pytest.mark.parametrize("step", [*commands()])
def test_it_can_be_read(step: Step) -> None:
    for words in step.simple:
        problem = fault(words)
        # The text may name a command without what it needs.
        if problem and "the following arguments are required" not in problem:
            pytest.fail(f"{step.where}: {step.command}: {problem}")


def test_there_are_many() -> None:
    assert len(list(commands())) >= 50
