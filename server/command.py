"""The `samwire` command of an installation that may be the client's alone."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from server.__main__ import main as run  # noqa: PLC0415 - it may not be there
    except ModuleNotFoundError as missing:
        sys.exit(
            f"samwire: {missing.name} is missing, for only the client is installed. The command "
            "needs the server's packages: pip install 'samwire[server]'"
        )
    run()
