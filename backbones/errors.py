"""The one exception that a user's mistake ends in."""

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake the user can fix: the message says what was expected, what was found, where, and what to do.

    Attributes:
        status: of the process that ends with it.
        label: what stands before the message on the terminal.
    """

    status = 1
    label = "error: "

    def __init__(self, message: str) -> None:
        # PyTorch hands on a data-loading process's exception with that process's traceback before the message.
        super().__init__(message.rstrip().rpartition(f"{type(self).__name__}: ")[2])


@contextmanager
def as_user_errors(what: str, log: Path | None = None) -> Iterator[None]:
    """Turn every other error in the block into a UserError of one line: settings can make any part fail anywhere.

    Args:
        what: what the settings are of; the message begins with it.
        log: file that gets the whole traceback; its folder is there.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if log:
            with log.open("a") as file:
                file.write(traceback.format_exc())
        raise UserError(f"{what} fails: {describe(error, log)}") from error


def describe(error: Exception, log: Path | None = None) -> str:
    """Return in one line what an unexpected error is, where it was raised, and where its whole traceback is found.

    Args:
        error: as caught.
        log: file that has the traceback; None where the environment's TRACEBACK shows it.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    more = f"the whole traceback is in {log}" if log else "TRACEBACK=1 in the environment shows the whole traceback"
    return f"{type(error).__name__}: {_one_line(error)} ({Path(place.filename).name}, line {place.lineno}; {more})."


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    of_another_process = "Traceback" in str(error)  # a data-loading process's error has its traceback before it
    return lines[-1 if of_another_process else 0][:500]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
