"""What a detector is pointed at: pictures, folders, patterns of names, videos, cameras, addresses of streams."""

import argparse
import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from backbones.errors import UserError

VIDEO_SUFFIXES = (
    ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv",
)  # fmt: skip
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
_WILD = re.compile(r"[*?\[]")  # what makes a name a pattern
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# System -> FFmpeg's name of the cameras' device, and the address of one of them.
CAMERAS = {"linux": ("video4linux2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
Place = Path | str  # an address of a stream is a text: a path would lose one of its slashes


@dataclass(frozen=True)
class Video:
    """A video file, a camera or a stream.

    Attributes:
        address: what FFmpeg opens.
        name: what messages and results call it, without what an address may hold of passwords.
        path: of a file; None for cameras and streams, whose end nobody knows.
        device: FFmpeg's name of the cameras' device; None for what is no camera.
    """

    address: str
    name: str
    path: Path | None = None
    device: str | None = None


@dataclass(frozen=True)
class Sources:
    """All that was named, in its order and each once.

    Attributes:
        pictures: files.
        videos: files, cameras and streams.
        root: folder that holds all files; their results are called after their places below it.
    """

    pictures: tuple[Path, ...]
    videos: tuple[Video, ...]
    root: Path

    def place_of(self, path: Path) -> Path:
        """Return the place of a file below ``root``."""
        return Path(os.path.abspath(path)).relative_to(self.root)


def place(text: str) -> Place:
    """Return an argument as a path, or as the text that it is if it is the address of a stream.

    Raises:
        argparse.ArgumentTypeError: an address with control characters, which would break messages.
    """
    if not _ADDRESS.match(text):
        return Path(text)
    if _CONTROL.search(text):
        raise argparse.ArgumentTypeError(f"{text!r} is taken for no address: it holds control characters")
    return text


def find_sources(places: Sequence[Place], leave_out: Path | None = None) -> Sources:
    """Return the pictures and videos that arguments name.

    Args:
        places: files, folders, patterns of names (``**`` for folders at any depth), numbers of cameras, or addresses.
        leave_out: a folder whose files do not count.

    Raises:
        UserError: a place that is not there, or holds no pictures and no videos.
    """
    pictures: dict[Path, Path] = {}
    videos: dict[str, Video] = {}
    folders = []
    for each in places:
        if isinstance(each, str) or _is_camera(each):
            video = _live(each)
            videos[video.address] = video
            continue
        for path, folder in _files(each, leave_out):
            folders.append(os.path.abspath(folder))
            if is_video(path):
                videos.setdefault(str(path.resolve()), Video(str(path), str(path), path))
            else:
                pictures.setdefault(path.resolve(), path)
    root = Path(os.path.commonpath(folders) if folders else os.getcwd())
    return Sources(tuple(pictures.values()), tuple(videos.values()), root)


def is_video(path: Path) -> bool:
    """Tell whether a file is a video by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_pictures(source: Path, leave_out: Path | None = None) -> list[Path]:
    """Return the picture, or those of a folder and the folders below by name; hidden ones are left out.

    Args:
        source: a file, of any suffix, or a folder.
        leave_out: a folder whose pictures do not count.

    Raises:
        UserError: no such place, or no pictures in it.
    """
    return _find(source, _picture_suffixes(), "pictures", leave_out)


def _files(source: Path, leave_out: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield the files that a path or a pattern names, each with the folder below which it was looked for."""
    suffixes, what = (*_picture_suffixes(), *VIDEO_SUFFIXES), "pictures or videos"
    if source.exists() or not _WILD.search(str(source)):
        folder = source if source.is_dir() else source.parent
        yield from ((path, folder) for path in _find(source, suffixes, what, leave_out))
        return
    found = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
    own = [leave_out.resolve()] if leave_out else []
    matched = [path for path in found if path.suffix.lower() in suffixes and not _below(path, own) and path.is_file()]
    if not matched:
        raise UserError(f"No {what} match {source}: expected files ending in {', '.join(suffixes)}.")
    yield from ((path, path.parent) for path in matched)


def _below(path: Path, folders: Sequence[Path]) -> bool:
    return any(folder in path.resolve().parents for folder in folders)


def _find(source: Path, suffixes: Sequence[str], what: str, leave_out: Path | None) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"No such picture, video or folder: {source}.")
    top, other = source.resolve(), leave_out and leave_out.resolve()
    found = []
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        hidden = any(part.startswith(".") for part in relative.parts)
        own = other in (top / relative).parents
        if path.suffix.lower() in suffixes and not (hidden or own or path.is_dir()):
            found.append(path)
    if not found:
        raise UserError(f"No {what} in {source} and below: expected files ending in {', '.join(suffixes)}.")
    return sorted(found)


def _is_camera(path: Path) -> bool:
    return bool(re.fullmatch(r"\d{1,3}", str(path))) and not path.exists()


def _live(source: Place) -> Video:
    if isinstance(source, str):
        return Video(source, _without_secrets(source))
    if sys.platform not in CAMERAS:
        raise UserError(f"Camera {source}: cameras are read on {' and '.join(CAMERAS)} alone; give a stream's address.")
    device, address = CAMERAS[sys.platform]
    return Video(address.format(source), f"camera {source}", device=device)


def _without_secrets(address: str) -> str:
    """Return an address without user, password and query."""
    try:
        parts = urlsplit(address)
        where = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError as error:
        raise UserError(f"{address.partition('://')[0]}://...: the address cannot be read: {error}.") from error
    return f"{parts.scheme}://{where}{parts.path}"


def _picture_suffixes() -> tuple[str, ...]:
    from torchvision.datasets.folder import IMG_EXTENSIONS  # takes seconds

    return IMG_EXTENSIONS
