"""What can be asked of a loopback cloud besides OpenStack, over HTTP."""

from dataclasses import asdict
from typing import Any

from poolmgr.testing.openstack.fault import Fault, FaultRules
from poolmgr.testing.openstack.record import Record
from poolmgr.testing.openstack.service import Answer


class Control:
    """The record at ``/record``, the faults at ``/faults``."""

    def __init__(self, record: Record, faults: FaultRules) -> None:
        self._record = record
        self._faults = faults

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """Answer a request.

        GET of the record is the list of calls, DELETE forgets them; GET of
        its counts is how many there were. POST of a fault's fields puts it in
        force, DELETE lifts all.
        """
        match method, path:
            case "GET", "/record":
                calls = [asdict(call) for call in self._record.calls()]
                return Answer(200, calls)
            case "GET", "/record/counts":
                return Answer(200, self._record.counts())
            case "DELETE", "/record":
                self._record.forget()
                return Answer(204)
            case "POST", "/faults":
                return self._add(body)
            case "DELETE", "/faults":
                self._faults.clear()
                return Answer(204)
        return Answer(404, {"error": f"there is no {method} {path} here"})

    def _add(self, body: Any) -> Answer:
        if not isinstance(body, dict):
            return Answer(400, {"error": "a fault is a JSON object"})
        try:
            self._faults.add(Fault.from_json(body))
        except ValueError as error:
            return Answer(400, {"error": str(error)})
        return Answer(201, body)
