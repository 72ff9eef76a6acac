"""How the bundled model is made and measured; see README.md beside this file. Not in the wheel."""
