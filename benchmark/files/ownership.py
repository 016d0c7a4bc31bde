"""One owner per folder at a time."""

import contextlib
import datetime
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from backbones.errors import UserError
from benchmark.files.run_folder import OWNER

_PATIENCE = 3.0  # s: the data-loading processes of a killed owner hold its lock until they notice
_PAUSE = 0.1  # s


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder within the block; the operating system frees it when the process dies in any way.

    Raises:
        UserError: another process owns it; the message says which one, and since when.
    """
    with (folder / OWNER).open("a+") as file:
        if not _lock(file.fileno()):
            file.seek(0)
            raise UserError(f"{folder} is in use by {file.read().strip()}: wait for it, or give another --work-dir.")
        file.truncate(0)
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: data-loading processes have inherited the file


def _lock(descriptor: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True
