"""Refusals, before a service gives them its own shape."""


class Refused(Exception):
    """A request that a service refuses.

    :ivar status: the HTTP status
    :ivar message: what the service says
    :ivar kind: the type that Neutron names it by
    :ivar headers: headers of the answer
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.headers = headers or {}


def bad_request(message: str) -> Refused:
    """Compute's 400."""
    return Refused(400, message)


def invalid(field: str, value: object, problem: str) -> Refused:
    """Compute's 400 for a value that its schema does not allow."""
    return bad_request(
        f"Invalid input for field/attribute {field}. Value: {value}. {problem}"
    )


def bad_floating_ip(problem: str) -> Refused:
    """Network's 400 for a floating IP that cannot be so."""
    return Refused(400, f"Bad floatingip request: {problem}", "BadRequest")
