"""How much one client may send. Pure; the clock is an argument."""

from typing import Literal

from server.sessions.rules import SessionRules

__all__ = ["Manners", "TokenBucket"]


class TokenBucket:
    """Starts full; refills at `per_s` up to `burst`."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, *, leave: float = 0.0) -> bool:
        """Take one token; False when fewer than `leave` would be left."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens - 1.0 < leave:
            return False
        self._tokens -= 1.0
        return True


class Manners:
    """What one client has sent of late, against what is put up with."""

    def __init__(self, rules: SessionRules, now: float) -> None:
        self._messages = TokenBucket(rules.messages_per_s, 2 * rules.messages_per_s, now)
        self._errors = TokenBucket(rules.max_errors_per_min / 60, rules.max_errors_per_min, now)
        self._segments = TokenBucket(rules.limits.segments_per_s, rules.segment_burst, now)
        # A pointer sends hovers by the hundred; the click at their end must still get through.
        self._left_to_clicks = rules.segment_burst / 2

    def allow_message(self, now: float) -> bool:
        """One more message, of whatever kind; more is abuse."""
        return self._messages.take(now)

    def allow_error(self, now: float) -> bool:
        """One more request or frame in error; more is abuse."""
        return self._errors.take(now)

    def allow_segment(self, kind: Literal["click", "hover"], now: float) -> bool:
        """One more click or hover, within the rate."""
        return self._segments.take(now, leave=self._left_to_clicks if kind == "hover" else 0.0)
