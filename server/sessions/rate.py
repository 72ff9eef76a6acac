"""A token bucket: so many a second, so many in a burst. Pure; the clock is an argument."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Starts full; refills at `per_s` up to `burst`."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
