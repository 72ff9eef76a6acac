"""What is done where a network cannot be recorded: it runs as it is, slower and as right."""

import logging
from collections.abc import Callable
from typing import TypeVar

from server.engine.models.device import is_out_of_memory

__all__ = ["or_eager"]

log = logging.getLogger(__name__)

T = TypeVar("T")


def or_eager(make: Callable[[], T], eager: T) -> T:
    """What `make` records; where that fails, as with a torch that records no more, the eager one.

    That memory is short now is no reason to be slow for good: it is raised.
    """
    try:
        return make()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        log.warning("could not record the model: clicks will take longer", exc_info=True)
        return eager
