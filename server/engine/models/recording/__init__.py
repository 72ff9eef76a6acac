"""Networks recorded once and run without Python in between."""
