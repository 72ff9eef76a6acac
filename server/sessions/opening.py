"""One open that is not done: what was asked, its bytes, and what its client has heard of it."""

from dataclasses import dataclass

from server.protocol import Open, Progress
from server.sessions.uploads import Upload

__all__ = ["REMIND_S", "Opening"]

REMIND_S = 15.0
"""An open that came no further is told again after so long: its client can tell a long wait from a
connection that is gone."""


@dataclass(slots=True)
class Opening:
    """From `open` to its terminal reply."""

    asked: Open
    upload: Upload
    _told: Progress | None = None
    _quiet_since: float | None = None
    _reported: float = 0.0

    @property
    def id(self) -> int:
        """Of the request."""
        return self.asked.id

    def news(self) -> float | None:
        """The fraction received, each time it has grown by a twentieth."""
        fraction = self.upload.fraction
        if fraction < 1.0 and fraction - self._reported < 0.05:
            return None
        self._reported = fraction
        return fraction

    def tell(self, progress: Progress) -> None:
        """Note what its client is told."""
        self._told, self._quiet_since = progress, None

    def reminder(self, now: float) -> Progress | None:
        """What to tell again, where nothing was new for `REMIND_S`; `now` as often as it can be."""
        if self._quiet_since is None:
            self._quiet_since = now
        if now - self._quiet_since < REMIND_S:
            return None
        self._quiet_since = now
        if self.upload.receiving:
            return Progress(id=self.id, stage="upload", fraction=self.upload.fraction)
        return self._told
