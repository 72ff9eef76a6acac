"""samwire's server: Segment Anything over a WebSocket."""

__version__ = "0.1.0"
