"""The engine: one model, one device, every session's opens and decodes. Its face is `engine.py`."""
