"""What the terminal shows: the progress of long work, and names of which there are many."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")
SHOWN = 3  # names


def track_progress(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Pass the items on and show progress and the time left, on stderr and only while someone watches.

    Args:
        items: what is worked on.
        description: a word for the work.
        total: how many items there are, if they have no length.
    """
    console = Console(stderr=True)
    return track(items, description, total=total, console=console, transient=True, disable=not console.is_terminal)


def listed(names: Sequence[str]) -> str:
    """Return the first of the names in a line, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
