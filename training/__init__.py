"""How the bundled model is made and measured; see training/README.md. Not in the wheel."""
