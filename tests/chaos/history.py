"""The history of a job, for debugging a failed run."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from poolmgr.drivers.nova import marks
from tests.chaos.ledger import Entry

Json = dict[str, Any]


def history(
    entry: Entry,
    names: Sequence[str],
    entries: Sequence[Entry],
    record: Sequence[Json],
    folder: Path,
) -> str:
    """Return what the client, the cloud and the workers recorded of a job.

    :param names: ids, addresses and names that also identify it
    :param entries: all jobs
    :param record: the cloud's record of calls
    :param folder: where the workers' logs are
    """
    answer = entry.answer or {}
    known = [answer.get(key) for key in ("name", "ip", "id")]
    asked = [entry.unique, marks.job_tag(entry.unique), *entry.fields.values()]
    words = {str(word) for word in (*asked, *known, *names) if word}
    about = [e for e in entries if e is entry or words & {*e.fields.values()}]
    lines = [
        *(line for each in about for line in _client_lines(each)),
        "  calls of the cloud:",
        *(f"    {line}" for line in _calls(words, record)),
        "  the workers:",
        *(f"    {line}" for line in _logged(words, folder)),
    ]
    return "\n".join(lines)


def _client_lines(entry: Entry) -> Iterator[str]:
    """Yield the client's view of a job."""
    yield f"  {entry} handle={entry.handle}"
    yield f"    handed in {_clock(entry.submitted)}"
    ended = _clock(entry.ended or 0)
    yield f"    ended {ended}: {entry.outcome} {entry.answer or ''}"


def _calls(words: set[str], record: Sequence[Json]) -> Iterator[str]:
    """Yield the calls that mention one of the words."""
    now, clock = time.monotonic(), time.time()
    for call in record:
        text = json.dumps(call)
        if any(word in text for word in words):
            when = _clock(clock - now + call["when"])
            what = f"{call['method']} {call['path']}"
            body = json.dumps(call["body"]) if call["body"] else ""
            yield f"{when} {what}: {call['status']} {body}"


def _logged(words: set[str], folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if any(word in line for word in words):
                yield f"{path.stem}: {line}"


def _clock(seconds: float) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{stamp}.{int(seconds % 1 * 1000):03}"
