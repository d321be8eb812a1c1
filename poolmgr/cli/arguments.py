"""Values on the command line: what argparse calls a type.

Each raises :class:`argparse.ArgumentTypeError` if a text is no such value.
"""

import argparse
from collections.abc import Callable
from typing import NoReturn

from poolmgr.text import one_line, parse_duration


def positive(text: str) -> int:
    """A number that is 1 or more."""
    if not text.isdecimal() or not int(text):
        _refuse(f"must be 1 or more, not {one_line(text, 100)!r}")
    return int(text)


def seconds(least: float, most: float) -> Callable[[str], float]:
    """What reads a number of seconds.

    :param least: the fewest that it may be
    :param most: the most
    """

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            _refuse(
                f"must be {least:g} to {most:.10g} seconds, not "
                f"{one_line(text, 100)!r}"
            )
        return number

    return read


def duration(text: str) -> int:
    """A length of time, like ``10m``: seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        _refuse(str(error))


def job_server(address: str) -> str:
    """The address of a job server."""
    from poolmgr.errors import ConfigError
    from poolmgr.gearman import Address

    try:
        Address.parse(address)
    except ConfigError as error:
        _refuse(str(error))
    return address


def _refuse(why: str) -> NoReturn:
    raise argparse.ArgumentTypeError(why)
