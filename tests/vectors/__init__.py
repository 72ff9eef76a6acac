"""Golden frames of samwire.v1, read by the Python and the TypeScript tests alike."""
