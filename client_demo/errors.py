"""The client's exceptions: one base class, told apart by `code`."""

from server.errors import ERRORS
from server.protocol import Error

__all__ = [
    "CallbackError",
    "ConnectionLost",
    "SamwireError",
    "Superseded",
    "error_of",
    "local_error",
]


class SamwireError(Exception):
    """A request that got no result.

    Args:
        code: as in the protocol's table of errors, or `superseded`, `connection_lost` or `broken`:
            the client itself failed, in a way nobody foresaw, and will not connect again.
        message: one sentence for people.
        field: the field of the request at fault, dotted (`points.3.1`).
        fault: "client": the same again fails again; "server"; or "overload": try again later.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        fault: str = "client",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.fault = fault
        self.retry_after = retry_after

    def __str__(self) -> str:
        where = f" ({self.field})" if self.field else ""
        return f"{self.code}{where}: {self.message}"


class Superseded(SamwireError):  # noqa: N818 - what happened, no mistake
    """Something newer took the request's place: `by` is its id, if there is one."""

    def __init__(self, by: int | None = None) -> None:
        super().__init__("superseded", "something newer took its place")
        self.by = by


class ConnectionLost(SamwireError):  # noqa: N818 - what happened, no mistake
    """The connection ended before the answer came; it is safe to ask again."""

    def __init__(self, message: str) -> None:
        super().__init__("connection_lost", message, fault="server")


class CallbackError(SamwireError):
    """What waited for an open whose own callback raised; `theirs` is what it raised."""

    def __init__(self, theirs: BaseException) -> None:
        super().__init__("not_open", f"the image was given up: on_progress raised {theirs!r}")
        self.theirs = theirs


def error_of(reply: Error) -> SamwireError:
    """The exception a server's `error` stands for."""
    return SamwireError(
        reply.code,
        reply.message,
        field=reply.field,
        fault=reply.fault,
        retry_after=reply.retry_after,
    )


def local_error(code: str, message: str, field: str | None = None) -> SamwireError:
    """An error of the server's table that was noticed here already."""
    return SamwireError(code, message, field=field, fault=ERRORS[code].fault)
