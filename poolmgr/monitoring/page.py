"""The status page: what a person wants to see first, without JavaScript."""

import importlib.metadata
import os
import socket
import time
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from poolmgr.monitoring.health import Check
from poolmgr.monitoring.statistics import Statistics
from poolmgr.text import format_duration, one_line
from poolmgr.worker.service import Service

#: Characters of a value that are shown.
_LONGEST = 500


def render(
    service: Service, statistics: Statistics, checks: Sequence[Check]
) -> str:
    """The page as HTML.

    :param checks: whether the worker is healthy and ready
    """
    minutes = statistics.last_hour
    return _ENVIRONMENT.get_template("status.html").render(
        service=service,
        statistics=statistics,
        checks=checks,
        minutes=minutes,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=importlib.metadata.version("poolmgr"),
        now=time.time(),
    )


def _finalize(value: object) -> str:
    """A value as one line, with secrets masked; Jinja2 escapes it after."""
    if isinstance(value, Markup):
        return value
    return one_line(str(value), _LONGEST)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _duration(seconds: float) -> str:
    return format_duration(max(0, int(seconds)))


_ENVIRONMENT = Environment(
    loader=PackageLoader("poolmgr.monitoring"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"date": _date, "duration": _duration}
