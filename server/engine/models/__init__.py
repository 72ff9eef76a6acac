"""The models: the only rooms that know torch."""
