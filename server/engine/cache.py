"""Embeddings by key, bounded in bytes: the least recently used goes first, never one in use.

A use pins an entry; what nobody uses stays as long as there is room, so that opening an image again
costs nothing. Remembered logits count against the same budget (`other_bytes`), because it is one
device's memory that both take.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from server.engine.models.base import Embedding

__all__ = ["Cache", "Entry"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, eq=False)
class Entry(Generic[Key]):
    """A cached embedding and how many use it."""

    key: Key
    embedding: Embedding
    pins: int = 0


class Cache(Generic[Key]):
    """Embeddings; of those nobody uses, the one used last comes last.

    Args:
        max_bytes: for embeddings and remembered logits together; 0 keeps nothing unused.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        """Uses of what was there."""
        self.misses = 0
        """Embeddings that had to be made."""
        self.other_bytes = 0
        """Set by the owner of the logits."""
        self._entries: OrderedDict[Key, Entry[Key]] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all embeddings held."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def pin(self, key: Key) -> Entry[Key] | None:
        """The entry, in use until `unpin`; None when it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self.hits += 1
        entry.pins += 1
        return entry

    def put(self, key: Key, embedding: Embedding) -> Entry[Key]:
        """Keep a new embedding, in use until `unpin`; there must be none under this key."""
        if key in self._entries:
            raise KeyError(key)
        self.misses += 1
        entry = Entry(key, embedding, pins=1)
        self._entries[key] = entry
        self._bytes += embedding.nbytes
        self.shrink()
        return entry

    def unpin(self, entry: Entry[Key]) -> None:
        """End one use; from now on it counts as used just now."""
        if entry.pins < 1:
            raise ValueError(f"not in use: {entry.key}")
        entry.pins -= 1
        # Only unused entries are ever evicted, so the end of a use is what their order is about.
        self._entries.move_to_end(entry.key)
        self.shrink()

    def shrink(self) -> bool:
        """Evict unused entries until the budget holds; whether it holds."""
        for entry in list(self._entries.values()):
            if self._fits:
                break
            self._evict_unused(entry)
        return self._fits

    def evict_unused(self) -> int:
        """Evict everything nobody uses; how many bytes that freed."""
        before = self._bytes
        for entry in list(self._entries.values()):
            self._evict_unused(entry)
        return before - self._bytes

    @property
    def _fits(self) -> bool:
        return self._bytes + self.other_bytes <= self.max_bytes

    def _evict_unused(self, entry: Entry[Key]) -> None:
        if entry.pins == 0:
            del self._entries[entry.key]
            self._bytes -= entry.embedding.nbytes
