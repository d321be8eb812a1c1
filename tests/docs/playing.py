"""Pages that are played from top to bottom."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.docs.blocks import Block, pages
from tests.docs.excused import OF_THEIR_OWN
from tests.docs.session import Session
from tests.docs.stages import stage_of
from tests.docs.steps import Step, steps_of

STEPS = {page: steps_of(page) for page in pages()}
PLAYED = [page for page in STEPS if page.name not in OF_THEIR_OWN]
_FOUND: dict[Path, dict[int, str | None]] = {}


def steps(of: list[Path]) -> list[Step]:
    """The commands of some pages."""
    return [step for p in of for step in STEPS[p] if isinstance(step, Step)]


def each(found: list[Step]) -> pytest.MarkDecorator:
    """Parametrises a test by ``step``, each named by page and line."""
    given: list[ParameterSet] = [
        pytest.param(step, id=step.where) for step in found
    ]
    return pytest.mark.parametrize("step", given)


def each_page(found: list[Path]) -> pytest.MarkDecorator:
    """Parametrises a test by ``page``: those that have commands."""
    given = [page for page in found if steps([page])]
    return pytest.mark.parametrize("page", given, ids=lambda page: page.name)


def play(page: Path, folder: Path) -> dict[int, str | None]:
    """What is wrong with each command of a page, by its line; by 0 what is
    wrong with how those end that went on."""
    found: dict[int, str | None] = {}
    with ExitStack() as stack:
        session = Session(stage_of(page, folder, stack), stack)
        for step in STEPS[page]:
            if isinstance(step, Block):
                session.meet(step)
            else:
                found[step.line] = _problem(session, step)
        found[0] = session.end()
    return found


def _problem(session: Session, step: Step) -> str | None:
    try:
        return session.problem(step)
    except Exception as error:
        # The next ones are tried all the same, once.
        return f"{type(error).__name__}: {error}"


def found_in(
    page: Path, factory: pytest.TempPathFactory
) -> dict[int, str | None]:
    """The same, played once in a process."""
    if page not in _FOUND:
        _FOUND[page] = play(page, factory.mktemp(page.stem))
    return _FOUND[page]


def check(step: Step, factory: pytest.TempPathFactory) -> None:
    """A command does what is shown, typed after those before it.

    They are typed once; each of them is a test, so that the wrong one is
    named.
    """
    problem = found_in(step.page, factory)[step.line]

    assert problem is None, f"{step.where}: $ {step.command}\n{problem}"


def check_end(page: Path, factory: pytest.TempPathFactory) -> None:
    """What a page's commands have started ends well."""
    assert found_in(page, factory)[0] is None, page.name
