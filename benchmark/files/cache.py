"""The folder for what can be made anew."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder of a kind of things in the user's cache; it may not be there yet."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"  # the specification's rule
    return (base / "rexnet-benchmark" / name).resolve()
