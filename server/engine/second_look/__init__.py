"""A mask looked at again, as far as that needs no torch."""
