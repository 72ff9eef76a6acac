"""How much one client may send. Pure; the clock is an argument."""

from server.protocol import RleBody, Segment
from server.sessions.rules import SessionRules

__all__ = ["Manners", "TokenBucket"]

_GIVEN_MASK_COST = 10.0  # segments that one with its own mask counts as, at least
_PIXELS_A_SEGMENT = 400_000  # of such a mask


class TokenBucket:
    """Starts full; refills at `per_s` up to `burst`."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, *, cost: float = 1.0, leave: float = 0.0) -> bool:
        """Take `cost` tokens, or none and False when fewer than `leave` would be left."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens - cost < leave:
            return False
        self._tokens -= cost
        return True


class Manners:
    """What one client has sent of late, against what is put up with."""

    def __init__(self, rules: SessionRules, now: float) -> None:
        self._messages = TokenBucket(rules.messages_per_s, 2 * rules.messages_per_s, now)
        self._errors = TokenBucket(rules.max_errors_per_min / 60, rules.max_errors_per_min, now)
        self._segments = TokenBucket(rules.limits.segments_per_s, rules.segment_burst, now)
        self._segment_burst = rules.segment_burst

    def allow_message(self, now: float) -> bool:
        """One more message, of whatever kind; more is abuse."""
        return self._messages.take(now)

    def allow_error(self, now: float) -> bool:
        """One more request or frame in error; more is abuse."""
        return self._errors.take(now)

    def allow_segment(self, message: Segment, now: float) -> bool:
        """One more click or hover, within the rate."""
        burst = self._segment_burst
        # A pointer sends hovers by the hundred; the click at their end must still get through.
        leave = (burst - 1) / 2 if message.kind == "hover" else 0.0
        # A given mask is expanded to the image's size, on the thread that finishes everybody's;
        # however small the burst, one at a time must get through, of hovers and masks alike.
        cost = max(1.0, min(_cost(message), burst - leave))
        return self._segments.take(now, cost=cost, leave=leave)


def _cost(message: Segment) -> float:
    if not isinstance(message.prior, RleBody):
        return 1.0
    height, width = message.prior.size
    return max(_GIVEN_MASK_COST, height * width / _PIXELS_A_SEGMENT)
