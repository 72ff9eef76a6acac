"""The engine: one model, one device, every session's opens and decodes."""

from server.engine.engine import Engine, EngineSettings
from server.engine.jobs import DecodeJob, OpenImage

__all__ = ["DecodeJob", "Engine", "EngineSettings", "OpenImage"]
