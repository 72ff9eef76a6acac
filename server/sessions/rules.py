"""What is the same for every session of a server."""

import hmac
from dataclasses import dataclass

from server.protocol import Limits, ModelInfo, Welcome

__all__ = ["SessionRules"]


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a server says in `welcome`, and what it puts up with."""

    protocol: str
    server: str
    model: ModelInfo
    limits: Limits
    features: tuple[str, ...]
    tokens: tuple[str, ...]
    """Any of these is accepted in `hello`; none = no token needed."""
    hello_timeout_s: float
    upload_timeout_s: float
    min_upload_bytes_per_s: float
    segment_burst: float
    messages_per_s: float
    max_errors_per_min: float
    kept_logits: int

    def accepts(self, token: str | None) -> bool:
        """Compare with every token in constant time, whichever matches."""
        given = (token or "").encode()
        matches = [hmac.compare_digest(given, known.encode()) for known in self.tokens]
        return any(matches) or not self.tokens

    def welcome(self, session_id: str) -> Welcome:
        """The answer to `hello`."""
        return Welcome(
            session=session_id,
            protocol=self.protocol,
            server=self.server,
            model=self.model,
            limits=self.limits,
            features=self.features,
        )
