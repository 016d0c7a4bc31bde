"""What lies in a user's folder: names, sizes and times, from one walk; nothing is opened and nothing is written."""

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from backbones.errors import UserError
from benchmark.data.layouts import PICTURES

SPLITS = ("train", "val", "test")
_WORDS = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LETTERS = re.compile(r"[a-z]+")
_SNIFFED = 4096  # bytes at the beginning of a file that tell what it is


@dataclass(frozen=True)
class Listing:
    """The files of a folder.

    Attributes:
        root: the folder, absolute.
        files: path below the root, parts joined by ``/`` -> size in bytes and time of the last change in ns.
    """

    root: Path
    files: Mapping[str, tuple[int, int]]

    @cached_property
    def pictures(self) -> list[str]:
        """The files that are pictures by their endings, sorted."""
        return self.ending(*PICTURES)

    @cached_property
    def folders(self) -> list[str]:
        """The folders that pictures lie in, and those above them; ``""`` is the root."""
        parents = {str(parent) for file in self.pictures for parent in PurePosixPath(file).parents}
        return sorted("" if parent == "." else parent for parent in parents)

    def ending(self, *suffixes: str) -> list[str]:
        """Return the files with one of these endings (``.json``), in any case, sorted."""
        return sorted(file for file in self.files if file.lower().endswith(suffixes))

    def read(self, file: str) -> bytes:
        """Return what a file holds.

        Raises:
            UserError: it cannot be read.
        """
        try:
            return (self.root / file).read_bytes()
        except OSError as error:
            raise UserError(f"{self.root / file} cannot be read: {error.strerror}.") from error

    def read_text(self, file: str) -> str:
        """Return a file's text.

        Raises:
            UserError: it cannot be read, or is no text in UTF-8.
        """
        try:
            return self.read(file).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.root / file} is no text in UTF-8 ({error}): save it so.") from error

    def begins(self, file: str) -> bytes:
        """Return the beginning of a file, or nothing of one that cannot be read."""
        try:
            with (self.root / file).open("rb") as opened:
                return opened.read(_SNIFFED)
        except OSError:
            return b""

    def find(self, name: str, folder: str = "") -> str | None:
        """Return the picture that an annotation means: the file of that name in a folder, else the only one so called.

        Composed and decomposed letters are the same: archives change them on their way between systems.
        """
        wanted = os.path.normpath(f"{folder}/{name}".replace("\\", "/").lstrip("/"))
        if wanted in self.files:
            return wanted
        if (composed := self._composed.get(_compose(wanted))) is not None:
            return composed
        return self._only.get(_compose(PurePosixPath(wanted).name))

    @cached_property
    def key(self) -> str:
        """A hash of the folder's place and of every file's name, size and time of change."""
        content = json.dumps([str(self.root), sorted((file, *found) for file, found in self.files.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def _composed(self) -> dict[str, str]:
        return {_compose(file): file for file in self.pictures}

    @cached_property
    def _only(self) -> dict[str, str]:
        counts = Counter(_compose(PurePosixPath(file).name) for file in self.pictures)
        return {name: file for file in self.pictures if counts[name := _compose(PurePosixPath(file).name)] == 1}


def list_files(root: Path) -> Listing:
    """Walk through a folder; hidden files and folders, and what archives of macOS add, are left out.

    Raises:
        UserError: no such folder, one that cannot be read, or a file whose name is no UTF-8.
    """
    if not os.path.isdir(root):
        raise UserError(
            f"Data folder not found: {root.absolute()}. Give --dataset a folder, or the name of a data set."
        )
    top = root.resolve()
    files: dict[str, tuple[int, int]] = {}

    def walk(folder: str, below: str, above: frozenset[tuple[int, int]]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}. Change its permissions.") from error
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            name = below + entry.name
            try:
                name.encode()
                found = entry.stat()
            except UnicodeEncodeError as error:
                raise UserError(f"{folder}: the name {name!r} is no text in UTF-8: rename it.") from error
            except OSError:  # a link that leads nowhere
                continue
            if entry.is_dir():
                place = (found.st_dev, found.st_ino)
                if place not in above:  # else a link leads back up
                    walk(entry.path, f"{name}/", above | {place})
            elif stat.S_ISREG(found.st_mode):  # no pipe, which nobody may ever write into
                files[name] = (found.st_size, found.st_mtime_ns)

    here = top.stat()
    walk(str(top), "", frozenset({(here.st_dev, here.st_ino)}))
    return Listing(top, files)


def split_of(path: str) -> str | None:
    """Return the split that a path speaks of, by the nearest of its parts that is one's name; None if none does."""
    for part in reversed(PurePosixPath(path.lower()).parts):
        for word in _LETTERS.findall(part):
            if word in _WORDS:
                return _WORDS[word]
    return None


def split_word(word: str) -> str | None:
    """Return the split that a word names alone."""
    return _WORDS.get(word.strip().lower())


def folder_of(file: str) -> str:
    """Return the folder of a file, ``""`` for the root."""
    parent = str(PurePosixPath(file).parent)
    return "" if parent == "." else parent


def best_folder(listing: Listing, names: Iterable[str], split: str | None) -> str:
    """Return the folder that most of some names lie below, one of the split before others."""
    wanted = [name.replace("\\", "/").lstrip("/") for name in names]

    def hits(folder: str) -> tuple[int, bool]:
        found = sum((f"{folder}/{name}" if folder else name) in listing.files for name in wanted)
        return found, split is not None and split_of(folder) == split

    return max(listing.folders, key=hits, default="")


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)
