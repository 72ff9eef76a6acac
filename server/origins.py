"""May this page connect? A browser tells its Origin; a WebSocket is not covered by CORS. Pure.

A page of the server's own origin may, and those an operator lists. `null` (a sandboxed frame, a
local file) may not. No Origin at all is no browser: a token, if one is set, is the guard there.
On a loopback address "own origin" counts only under a loopback name: any name can be made to
resolve to 127.0.0.1, and its page would otherwise pass as ours (DNS rebinding).
"""

import ipaddress
import re
from collections.abc import Sequence

__all__ = ["is_allowed", "is_origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}

# As browsers write an Origin, and no more: what a URL parser would forgive or repair - a path, a
# user, a space - is not one.
_SERIALISED = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)

_Origin = tuple[str, str, int]


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
    return page == own and (not _is_loopback(listens_on) or _is_loopback(page[1]))


def is_origin(text: str) -> bool:
    """Whether it can be compared with what browsers send."""
    return _parse(text) is not None


def _parse(origin: str) -> _Origin | None:
    found = _SERIALISED.fullmatch(origin.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    number = _DEFAULT_PORTS[scheme] if port is None else int(port)
    return (scheme, host, number) if 0 < number < 2**16 else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
