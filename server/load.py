"""The model that the settings ask for; torch is imported only when it is loaded."""

from collections.abc import Callable

from server.config import Settings
from server.engine.models.base import Model

__all__ = ["load"]


def load(settings: Settings, progress: Callable[[int, int], None]) -> Model:
    """Make the model, on the device and the threads that are set.

    Args:
        settings: the name of the model, its checkpoint, device, numbers and threads.
        progress: told the bytes had and the bytes in all, while something is downloaded.

    Raises:
        ValueError: the checkpoint is not this model's, or there is no such device or dtype here.
        DownloadError: the official file could not be had.
    """
    if settings.model == "fake":
        from server.engine.fake import FakeModel

        return FakeModel()
    from server.engine.models.catalog import load_model
    from server.engine.models.device import choose_threads

    choose_threads(settings.threads)
    return load_model(
        settings.model,
        checkpoint=settings.checkpoint,
        device=settings.device,
        dtype=settings.dtype,
        progress=progress,
    )
