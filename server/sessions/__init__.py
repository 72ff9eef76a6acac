"""Sessions: one annotator's connection each, decided without I/O and carried out by thin shells."""
