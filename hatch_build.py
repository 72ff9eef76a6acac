"""Tells whoever builds a package without the page that it will not be in it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageIsThere(BuildHookInterface):  # type: ignore[type-arg] # of any builder's configuration
    """Warns; the client and the socket work without a page."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Look for the page before a package is built; in a checkout it may come later."""
        del build_data
        if version == "standard" and not Path(self.root, "server/static/index.html").exists():
            self.app.display_warning(
                "samwire: the page is not built, so this package serves none. To have it, run "
                "`make page` (Node.js and npm) and build again."
            )
