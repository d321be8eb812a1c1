"""The scenes that provoke the page's messages."""

from collections.abc import Callable

from tests.trouble.stage import Stage

Scene = Callable[[Stage], str]

#: By the message on the page.
SCENES: dict[str, Scene] = {}


def scene(*messages: str) -> Callable[[Scene], Scene]:
    """Register a scene for messages of the page."""

    def add(play: Scene) -> Scene:
        assert not SCENES.keys() & {*messages}
        SCENES.update(dict.fromkeys(messages, play))
        return play

    return add
