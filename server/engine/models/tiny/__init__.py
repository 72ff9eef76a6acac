"""The bundled model: its networks, and how it is served."""
