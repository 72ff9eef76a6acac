"""The one part of a multipart/form-data body, handed out as it arrives. No I/O.

A form of ours has one part, and its bytes are not kept here: so what is held is never more than its
header, or than a delimiter that may have begun. What RFC 2046 allows and no client writes - text
before the first delimiter, spaces after one - is refused.
"""

import enum
import re

from server.errors import WireError

__all__ = ["OnePart", "boundary_of"]

_MAX_HEADER_BYTES = 8 << 10
_BOUNDARY = re.compile(
    r";\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;,\"]{1,70}))\s*(?:;|$)", re.IGNORECASE
)
_NAME = re.compile(
    rb"^content-disposition:\s*form-data\s*;(?:[^\r\n]*;)?\s*name=(?:\"([^\"\r\n]*)\"|([^\s;\"]+))",
    re.IGNORECASE | re.MULTILINE,
)


def boundary_of(content_type: str) -> bytes:
    """What parts are divided by.

    Raises:
        WireError: `bad_field`.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise WireError("bad_field", "expected a `boundary` in the Content-Type", field="image")
    return (found[1] or found[2]).encode("latin-1", "replace")


class _Where(enum.Enum):
    HEADER = enum.auto()
    CONTENT = enum.auto()
    DELIMITER = enum.auto()
    END = enum.auto()


class OnePart:
    """Reads a body in pieces of any size.

    Args:
        boundary: as the Content-Type says it.
        name: the part's; another is refused.
    """

    def __init__(self, boundary: bytes, name: str) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._name = name
        self._where = _Where.HEADER
        self._held = bytearray(b"\r\n")  # then the first delimiter is as the others

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes of the body; the part's among them.

        Raises:
            WireError: `bad_field` or `unknown_field`.
        """
        if self._where is _Where.END:
            return b""
        self._held += piece
        if self._where is _Where.HEADER:
            self._read_header()
        content = self._read_content() if self._where is _Where.CONTENT else b""
        if self._where is _Where.DELIMITER:
            self._read_delimiter()
        return content

    def finish(self) -> None:
        """The body has ended.

        Raises:
            WireError: `bad_field` when it is not whole.
        """
        if self._where is not _Where.END:
            raise self._bad("the form ends before its part does")

    def _read_header(self) -> None:
        begun = self._held[: len(self._delimiter)]
        if not self._delimiter.startswith(begun):
            raise self._bad("expected the form to begin with its boundary")
        end = self._held.find(b"\r\n\r\n", len(self._delimiter))
        if max(end, len(self._held) if end < 0 else 0) > _MAX_HEADER_BYTES:
            raise self._bad(f"expected at most {_MAX_HEADER_BYTES} bytes of header")
        if end >= 0:
            self._check_name(bytes(self._held[len(self._delimiter) : end]))
            del self._held[: end + 4]
            self._where = _Where.CONTENT

    def _check_name(self, header: bytes) -> None:
        found = _NAME.search(header)
        if found is None:
            raise self._bad(f"expected a part with the name `{self._name}`")
        name = (found[1] if found[1] is not None else found[2]).decode("utf-8", "replace")
        if name != self._name:
            text = f"expected one part, named `{self._name}`"
            raise WireError("unknown_field", text, field=name[:100] or None)

    def _read_content(self) -> bytes:
        end = self._held.find(self._delimiter)
        if end >= 0:
            content = bytes(self._held[:end])
            del self._held[: end + len(self._delimiter)]
            self._where = _Where.DELIMITER
            return content
        certain = max(len(self._held) - len(self._delimiter) + 1, 0)
        content = bytes(self._held[:certain])
        del self._held[:certain]
        return content

    def _read_delimiter(self) -> None:
        if len(self._held) < 2:
            return
        if not self._held.startswith(b"--"):
            raise self._bad("expected one part, and no other after it")
        self._held.clear()
        self._where = _Where.END

    def _bad(self, text: str) -> WireError:
        return WireError("bad_field", text, field=self._name)
