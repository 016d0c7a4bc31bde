"""Files that are read whole."""

import errno
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: also where it is a pipe or a device, which might never end.
    """
    check_regular(path)
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """Check that nothing but a file or a link to one is there, if there is anything.

    Raises:
        OSError: it is a folder, a pipe or a device.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, and no file")
