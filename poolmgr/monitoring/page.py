"""The status page: what a person wants to see first, without JavaScript."""

import importlib.metadata
import os
import socket
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files

from poolmgr.monitoring.health import Check
from poolmgr.monitoring.markup import Column, Html, html, table, tag
from poolmgr.monitoring.plot import latency, scale
from poolmgr.monitoring.tally import RecentJob, Tally
from poolmgr.text import format_duration
from poolmgr.worker.state import State

#: Running jobs that are shown, the oldest.
_JOBS = 50
#: Characters of what is not broken into lines.
_WIDE = 24
#: Seconds after which a browser loads it again.
_REFRESH = 30

_RUNNING = (
    Column("action", "k"),
    Column("running", "n"),
    Column("limit", "n"),
    Column("unique"),
    Column("request id", "k"),
    Column("job server", "k"),
)
_LINKS = (
    Column("job server", "k"),
    Column("link", "k"),
    Column("since", "n"),
    Column("reconnects", "n"),
    Column("last error"),
)
_RECENT = (
    Column("ended", "k"),
    Column("action", "k"),
    Column("took", "n"),
    Column("outcome", "k"),
    Column("about, request id", "w"),
)
_FAILURES = (
    Column("ended", "k"),
    Column("action", "k"),
    Column("took", "n"),
    Column("error", "k"),
    Column("reason, request id", "w"),
)
_CALLS = (
    Column("service", "k"),
    Column("status"),
)
_FINDINGS = (Column("thing"), Column("verdict", "k"), Column("reason"))


def page(state: State, tally: Tally, checks: Sequence[Check]) -> str:
    """The page.

    :param checks: whether the worker is well
    """
    style = files("poolmgr.monitoring").joinpath("style.css").read_text()
    title = f"poolmgr on {socket.gethostname()}"
    head = Html(
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{_REFRESH}">'
        f"<title>{html(title)}</title><style>{style}</style>"
    )
    parts = (
        _head(title, state, tally),
        _checks(checks),
        _tiles(state),
        # What is short and may be bad, before what is long and well.
        *_section("Cloud", _cloud(state, tally)),
        *_section("Job servers", [_links(state)]),
        *_section("Last failures", _failures(tally)),
        *_section("Running jobs", _running(state)),
        *_section("Last jobs", _recent(tally)),
        *_section("Reaper", _reaper(tally)),
    )
    whole = Html(f'<html lang="en">{tag("head", head)}{tag("body", *parts)}')
    return f"<!DOCTYPE html>{whole}</html>\n"


def _section(title: str, content: "Iterator[Html] | list[Html]") -> list[Html]:
    return [tag("h2", title), *content]


def _head(title: str, state: State, tally: Tally) -> Html:
    version = importlib.metadata.version("poolmgr")
    up = format_duration(int(time.time() - tally.began))
    about = (
        f"pool {state.pool}, version {version}, process {os.getpid()}, "
        f"up for {up}, as of {_clock(time.time())}"
    )
    return Html(tag("h1", title) + tag("p", about, style="dim"))


def _checks(checks: Sequence[Check]) -> Html:
    lines = (
        tag(
            "div",
            tag("span", "✓ " if c.good else "✗ ", style=_style(c.good)),
            f"{c.what}: ",
            tag("span", c.found, style="dim" if c.good else "bad"),
        )
        for c in checks
    )
    return tag("p", *lines)


def _tiles(state: State) -> Html:
    load, limits = state.load, state.settings
    up = sum(link.state == "up" for link in state.links)
    tiles = (
        ("long jobs running", f"{load.long}", f"of {limits.long_jobs}"),
        ("short jobs running", f"{load.short}", f"of {limits.short_jobs}"),
        ("long jobs held", f"{load.held}", f"of {limits.held_jobs}"),
        ("job servers", f"{up}", f"of {len(state.links)}"),
        ("devices awaited", f"{state.driver.awaited}", ""),
    )
    return tag(
        "div",
        *(
            tag(
                "div",
                tag("b", number, " ", tag("small", of, style="dim")),
                tag("span", what, style="dim"),
                style="tile",
            )
            for what, number, of in tiles
        ),
        style="tiles",
    )


def _running(state: State) -> Iterator[Html]:
    jobs = state.jobs
    if not jobs:
        yield tag("p", "none", style="dim")
        return
    yield table(
        _RUNNING,
        (
            (
                _cut(each.action),
                f"{each.seconds:.1f} s",
                f"{each.limit:.0f} s",
                _code(each.job.unique or each.job.handle or "-"),
                _code(each.request_id),
                each.job.server or "-",
            )
            for each in jobs[:_JOBS]
        ),
    )
    if len(jobs) > _JOBS:
        yield tag("p", f"and {len(jobs) - _JOBS} younger ones", style="dim")


def _cloud(state: State, tally: Tally) -> Iterator[Html]:
    for name, breaker in state.breakers.items():
        if breaker.open:
            yield tag(
                "p", f"{name} is held back: {breaker.reason}", style="bad"
            )
    minutes = tally.last_hour
    calls = sum(minute.calls for minute in minutes)
    if not calls:
        yield tag("p", "no calls in the last hour", style="dim")
        return
    failed = sum(minute.failed for minute in minutes)
    mean = sum(minute.total for minute in minutes) / calls
    top = scale(minutes)
    keys = [
        Html(f'<span class="key {name}"></span>{html(what)}')
        for name, what in (
            ("longest", "longest call"),
            ("mean", "mean"),
            ("failed", "failures"),
        )
    ]
    yield tag(
        "figure",
        tag("div", f"{top * 1000:g} ms", tag("span", *keys), style="axis"),
        Html(latency(minutes)),
        tag("div", "an hour ago", tag("span", "now"), style="axis"),
    )
    yield tag(
        "p",
        f"{calls} calls in the last hour, {mean * 1000:.0f} ms in the mean; "
        f"{failed} of them failed",
        style="dim",
    )
    yield table(_CALLS, _statuses(tally))


def _statuses(tally: Tally) -> Iterator[tuple[object, ...]]:
    """How often each service has answered what, since the start."""
    found: dict[str, dict[str, int]] = {}
    for (service, _method, status), number in tally.counts.calls.items():
        of_service = found.setdefault(service, {})
        of_service[status] = of_service.get(status, 0) + number
    for service, statuses in sorted(found.items()):
        parts = []
        for status, number in sorted(statuses.items()):
            words = "no answer" if status == "none" else status
            bad = status == "none" or status >= "500"
            said = f"{words}: {number}"
            parts.append(tag("span", said, style="bad" if bad else ""))
        yield service, Html(", ".join(parts))


def _links(state: State) -> Html:
    now = time.time()
    return table(
        _LINKS,
        (
            (
                str(link.address),
                tag("span", link.state, style=_style(link.state == "up")),
                format_duration(max(0, int(now - link.since))),
                link.reconnects,
                link.last_error or "",
            )
            for link in state.links
        ),
    )


def _failures(tally: Tally) -> Iterator[Html]:
    failures = tally.failures
    if not failures:
        yield tag("p", "none", style="dim")
        return
    yield table(
        _FAILURES,
        (
            (*_began(each), each.code, _below(each.reason, each.request_id))
            for each in failures
        ),
    )


def _recent(tally: Tally) -> Iterator[Html]:
    recent = tally.recent
    if not recent:
        yield tag("p", "none", style="dim")
        return
    yield table(
        _RECENT,
        (
            (
                *_began(each),
                _outcome(each),
                _below(each.about, each.request_id),
            )
            for each in recent
        ),
    )


def _began(each: RecentJob) -> tuple[str, str, str]:
    return _ago(each.at), _cut(each.action), f"{each.seconds:.3f} s"


def _outcome(each: RecentJob) -> Html:
    words = f"FAIL ({each.code})" if each.code else "PASS"
    return tag("span", words, style=_style(not each.code))


def _reaper(tally: Tally) -> Iterator[Html]:
    look = tally.counts.look
    if look is None:
        yield tag("p", "has not looked yet", style="dim")
        return
    said = f"looked at {_ago(look.at)}, {sum(look.findings.values())} findings"
    yield tag("p", said, style="dim")
    if look.cases:
        yield table(_FINDINGS, look.cases)


def _style(good: bool) -> str:
    return "good" if good else "bad"


def _cut(text: str) -> str:
    """What comes from outside, in a column that is not to be broken."""
    return text if len(text) <= _WIDE else f"{text[:_WIDE]}..."


def _below(text: str, request_id: str) -> Html:
    """Text that has the width of its column, and the id below it."""
    first = tag("div", text) if text else ""
    return Html(html(first) + tag("div", _code(request_id), style="dim"))


def _code(text: str) -> Html:
    return tag("code", text)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _ago(seconds: float) -> str:
    """A moment that has passed; the page's head has the day."""
    at, now = time.localtime(seconds), time.localtime()
    if at[:3] == now[:3]:
        return time.strftime("%H:%M:%S", at)
    return _clock(seconds)
