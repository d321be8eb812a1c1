"""A job's payload: there is one answer, with all fields of the message."""

import json

from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.errors import InvalidMessage
from poolmgr.jobs import message
from poolmgr.ownership import Job

SEEDS = [
    b'{"action": "BUILD_IP",}',
    b'{"action": "ASSIGN_IP", "ip": "1.2.3.4", "name": "a-b.c"}',
    b'{"a": [1, -0.0, 1e5, true, null, "\\ud800\\u0000"], "b": {"c": []}}',
    b'{"action": "DELETE_DEVICE", "name": "../x"}',
    b"[[[[",
    b'{"a": 1, "a": 2}',
]

MANAGER = PoolManager(FakeCloud())


def one(data: bytes) -> None:
    """The data is the payload."""
    sent = message.encode(MANAGER.run(data, Job()))
    answer = json.loads(sent)
    assert sent.isascii()
    assert b"\n" not in sent
    assert isinstance(answer, dict)
    assert answer["response"] in ("PASS", "FAIL")
    MANAGER.is_long(data)
    refused = ""
    try:
        fields = message.decode(data)
    except InvalidMessage as error:
        refused = str(error)
    if refused:
        assert answer == {"response": "FAIL"}
        assert refused.isprintable()
        return
    assert json.loads(message.encode(fields)) == fields
    for key, value in fields.items():
        if key not in ("response", "id", "ip", "name", "addr", "type", "az"):
            assert answer[key] == value
