"""What a client does when a connection ends, and how long it waits. Pure."""

from collections.abc import Callable
from typing import Literal

from client_demo.errors import ConnectionLost, SamwireError
from server.errors import ERRORS

__all__ = ["AfterClose", "after_close", "backoff_s", "reason_of"]

AfterClose = Literal["stop", "retry", "sleep"]
"""stop: say so and stay away; retry: with back-off; sleep: reconnect when the user next acts."""

ABNORMAL = 1006
RESTARTING = 1012
_MAX_DELAY_S = 30.0
_HOPELESS = {1002, 1003, 1009}


def after_close(code: int) -> AfterClose:
    """What to do after this close code."""
    if code in _HOPELESS or 4000 <= code < 4100:
        return "stop"
    if code == 1000 or 4200 <= code < 4300:
        return "sleep"
    return "retry"


def backoff_s(attempt: int, random: Callable[[], float]) -> float:
    """Seconds before try `attempt` (from 0): 0-1 s at random, doubling, at most 30 s.

    At random, so that a crowd that was thrown out together does not come back together.
    """
    return min(_MAX_DELAY_S, random() * 2.0 ** min(attempt, 10))


def reason_of(code: int, reason: str) -> SamwireError:
    """The error that ended a connection; the server writes `code: sentence` as the reason."""
    name, colon, text = reason.partition(": ")
    if colon and name in ERRORS:
        return SamwireError(name, text, fault=ERRORS[name].fault)
    if code == ABNORMAL:
        return ConnectionLost(reason or "the connection broke")
    return ConnectionLost(f"the server closed the connection: {code} {reason}".rstrip())
