"""What provokes the messages of the page, by the message."""

from collections.abc import Callable

from tests.trouble.stage import Stage

Scene = Callable[[Stage], str]

#: By the message as the page has it.
SCENES: dict[str, Scene] = {}


def scene(*messages: str) -> Callable[[Scene], Scene]:
    """Play this for these messages of the page."""

    def add(play: Scene) -> Scene:
        assert not SCENES.keys() & {*messages}
        SCENES.update(dict.fromkeys(messages, play))
        return play

    return add
