"""What is quoted where things go wrong is what poolmgr says then."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.blocks import SOURCE, Block, blocks_of
from tests.trouble import building, devices, plugins, serving, starting
from tests.trouble.scenes import SCENES
from tests.trouble.stage import Stage

PAGE = SOURCE / "trouble.rst"
#: Scenes are in these, by their names.
MODULES = (building, devices, plugins, serving, starting)

#: What is an example on the page, and what may be there instead.
EXAMPLES = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"[0-9a-f-]{36}"),
    (r"http://neutron\S+", r"http://\S+"),
    (r"[\w-]+\.example\.com:\d+|127\.0\.0\.1:4730", r"[\w.-]+:\d+"),
    (r"\d+(?:\.\d+){3}", r"[\d.]+"),
    (r"H:[\w-]+:\d+", r"H:[\w.-]+:\d+"),
    (r"/etc/[\w./-]+", r"/\S+"),
    (r"\b[\d.]+ ?[sm]\b", r"[\d.]+ ?[sm]"),
    (r"\bused \d+ of \d+", r"used \d+ of \d+"),
    (r"\bport \d+", r"port \d+"),
    # Which of the two depends on the machine, or the moment.
    (
        "Name or service not known",
        "Name or service not known|Temporary failure in name resolution",
    ),
    (
        "closed by the job server",
        "closed by the job server|Connection reset by peer",
    ),
)


def quotes() -> dict[str, Block]:
    """The blocks by their names."""
    found = blocks_of(PAGE, "text")
    named = {block.options.get("name", ""): block for block in found}
    assert len(named) == len(found)
    return named


def words(text: str) -> str:
    """A text whose tables are as narrow as can be."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(lines)


def pattern(line: str) -> str:
    """What a line of the page stands for."""
    example = "|".join(f"(?P<e{n}>{e})" for n, (e, _) in enumerate(EXAMPLES))
    made, end = "", 0
    for match in re.finditer(example, line):
        made += re.escape(line[end : match.start()])
        made += f"(?:{EXAMPLES[int((match.lastgroup or '')[1:])][1]})"
        end = match.end()
    return made + re.escape(line[end:])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Where a scene is played."""
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


def test_every_quote_has_its_scene() -> None:
    assert quotes().keys() == {f"trouble-{name}" for name in SCENES}
    assert all(block.text.strip() for block in quotes().values())


@pytest.mark.parametrize("name", SCENES)
def test_it_is_what_poolmgr_says(name: str, stage: Stage) -> None:
    printed = words(SCENES[name](stage))

    for line in words(quotes()[f"trouble-{name}"].text).splitlines():
        assert re.search(pattern(line), printed), f"{line}\n\n{printed}"
