"""SAM's mask decoder: the one that serves, how it is recorded, and the reference beside it."""
