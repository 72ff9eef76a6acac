"""What the ways to decode have in common: what they are given, and what they answer."""

from typing import Protocol

from torch import Tensor

from server.engine.types import DecodeRequest
from server.geometry import Frame

__all__ = ["Answer", "Core", "Row", "Stored"]

Stored = tuple[Tensor, ...]
"""An embedding as a decoder keeps it."""

Row = tuple[Stored, Frame, DecodeRequest]
"""A stored embedding, where its image lies in the model's input, and what is asked of it."""

Answer = tuple[Tensor, Tensor]
"""Logits and predicted IoUs."""


class Core(Protocol):
    """A decoder's network, of rows of any number."""

    def __call__(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor
    ) -> Answer:
        """Logits and predicted IoUs of so many masks a row."""
