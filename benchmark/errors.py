"""The one exception that a user's mistake ends in."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the message says what was expected, what was found, where, and what to do."""

    def __init__(self, message: str) -> None:
        # PyTorch hands on a data-loading process's exception with that process's traceback before the message.
        super().__init__(message.rstrip().rpartition(f"{type(self).__name__}: ")[2])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
