"""The scenes by name: each provokes what a block of the page shows."""

from collections.abc import Callable

from tests.trouble.stage import Stage

Scene = Callable[[Stage], str]

#: By the names of the page's blocks.
SCENES: dict[str, Scene] = {}


def scene(play: Scene) -> Scene:
    """Play this for the block of the same name."""
    name = play.__name__.replace("_", "-")
    assert name not in SCENES
    SCENES[name] = play
    return play
