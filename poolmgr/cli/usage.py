"""What is wrong with a command line, in one line."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from poolmgr.text import one_line

_UNKNOWN = "unrecognized arguments: "


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean X or Y?)``, or nothing if nothing is near."""
    return _meant(_near(wrong, known))


def no_command(words: Sequence[str], known: Iterable[str]) -> str:
    """What is wrong with words that should be a command.

    :param words: those of the command line, up to the first option
    :param known: the commands there are
    """
    first, names = words[0], sorted(known)
    # "device" and "device lst"; then "biuld-device"; then "bulid".
    near = [name for name in names if re.split("[ -]", name)[0] == first]
    if near and " " in near[0]:
        return f"{' '.join(words[:2])!r} is no command{_meant(near)}"
    near = near or _near(" ".join(words[:2]), names) or _near(first, names)
    if not near:
        stems = _near(first, {re.split("[ -]", name)[0] for name in names})
        near = [n for n in names if re.split("[ -]", n)[0] in stems]
    return f"{first!r} is no command{_meant(near)}"


def _near(wrong: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(wrong[:100], list(known), 3, 0.7)


def _meant(near: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def complain_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Have a parser say what is wrong in one line, with what may be meant."""

    def error(message: str) -> NoReturn:
        if message.startswith(_UNKNOWN):
            words = message.removeprefix(_UNKNOWN).split(" ")
            message = _unknown(words[0], parser)
        prog = parser.prog
        parser.exit(2, f"{prog}: {one_line(message)}. See '{prog} --help'\n")

    parser.error = error  # type: ignore[method-assign]


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"{word!r} is one argument too many"
    options = [*parser._option_string_actions]
    return f"there is no option {option}{did_you_mean(option, options)}"
