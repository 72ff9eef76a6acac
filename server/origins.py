"""May this page connect? A browser tells its Origin; a WebSocket is not covered by CORS. Pure.

A page of the server's own origin may, and those an operator lists. `null` (a sandboxed frame, a
local file) may not. No Origin at all is no browser: a token, if one is set, is the guard there.
On a loopback address "own origin" counts only under a loopback name: any name can be made to
resolve to 127.0.0.1, and its page would otherwise pass as ours (DNS rebinding).
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

__all__ = ["is_allowed"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_Origin = tuple[str, str, int | None]


def is_allowed(
    origin: str | None, *, scheme: str, host: str, listens_on: str, allowed: Sequence[str]
) -> bool:
    """Decide by exact scheme, host and port.

    Args:
        origin: the `Origin` header, or None.
        scheme: "http" or "https", as the client sees us.
        host: the `Host` header.
        listens_on: the address the server is bound to.
        allowed: further origins, like "https://annotate.example.org".
    """
    if origin is None:
        return True
    page = _parse(origin)
    if page is None:
        return False
    if page in {_parse(other) for other in allowed}:
        return True
    own = _parse(f"{scheme}://{host}")
    return page == own and (listens_on not in _LOOPBACK or page[1] in _LOOPBACK)


def _parse(origin: str) -> _Origin | None:
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        return None
    if parts.path or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]
