"""Hugging Face's hub: what ``hf:ORG/NAME`` and ``hf:ORG/NAME@REVISION`` stand for, fetched and put there."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backbones.errors import UserError

_BEGINS = "hf:"
_ADDRESS = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w.-]+))?")
_SHOWN = 200  # letters of the client's own message


def is_address(path: Path | str) -> bool:
    """Tell whether a path is an address of the hub."""
    return str(path).startswith(_BEGINS)


def parse_address(address: Path | str) -> tuple[str, str | None]:
    """Return the repository, ``ORG/NAME``, and the revision, if one is named.

    Raises:
        UserError: it is no such address.
    """
    found = _ADDRESS.fullmatch(str(address))
    if not found:
        raise UserError(f"{address} is no address of the hub: expected hf:ORG/NAME, or hf:ORG/NAME@REVISION.")
    return found[1], found[2]


def fetch(address: Path | str, files: Sequence[str]) -> Path:
    """Return the folder of the hub's cache that holds files of a repository; those that it has not are left out.

    What is in the cache already serves without a network.

    Raises:
        UserError: no such repository, no network and nothing in the cache, or no permission.
    """
    import huggingface_hub

    repository, revision = parse_address(address)
    with _one_line(f"{address} could not be fetched"):
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(files)))


def push(folder: Path, address: Path | str, *, message: str, private: bool = False) -> str:
    """Put the files of a folder into a repository, which is made if need be, as one commit; return its URL.

    Raises:
        UserError: a revision in the address, no network, or no permission.
    """
    from huggingface_hub import HfApi

    repository, revision = parse_address(address)
    if revision:
        raise UserError(f"{address} names a revision, and what is put there is a new one: leave @{revision} out.")
    with _one_line(f"{address} could not be written"):
        api = HfApi()
        api.create_repo(repository, private=private or None, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return commit.commit_url


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever the hub's client raises into one line."""
    try:
        yield
    except Exception as error:  # it has many errors, and its transports have their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
        raise UserError(
            f"{what} ({reason}). Check the name and the network; a private repository, or writing, takes "
            "'hf auth login' or HF_TOKEN."
        ) from error
