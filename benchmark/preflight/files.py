"""Image files: missing, empty, of another size than annotated, not decodable, in two splits at once."""

import contextlib
import hashlib
import itertools
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backbones.errors import UserError
from benchmark.console import SHOWN, track_progress
from benchmark.data.decode import (
    AS_STORED,
    Shape,
    choose_turn,
    open_picture,
    orientation_tag,
    read_image,
    turned_shape,
)
from benchmark.files.reading import check_regular
from benchmark.measuring.machine import available_cores
from benchmark.preflight.rows import Outcome, Row, found_row, printable

_SAMPLE = 64  # pictures whose header is read before a run
_FEW = 256  # pictures that are not worth a second process, and that a process takes at once
Size = tuple[int, int]  # width and height in pixels

# What is looked for in a file: its name in a row, and what it means to training and to evaluation.
ZERO, UNREADABLE, OTHER_SIZE, TAGGED = (
    "image files of zero bytes",
    "image files that cannot be read",
    "pictures of another size than annotated",
    "pictures with an EXIF orientation tag",
)
_SKIPPED = Outcome("warning", "Training skips them: restore them from the archive.")
_LEFT_OUT = Outcome("warning", "Figures are without them, and say so: restore them from the archive.")
_MISPLACED = Outcome("error", "Boxes would lie elsewhere: restore the pictures, or fix the annotations.")
_READ_SO = Outcome("warning", "Where that is not meant, store them as they are meant, without a tag.")
_OUTCOMES = {
    ZERO: (_SKIPPED, _LEFT_OUT),
    UNREADABLE: (_SKIPPED, _LEFT_OUT),
    OTHER_SIZE: (_MISPLACED, _MISPLACED),
    TAGGED: (_READ_SO, _READ_SO),
}
_OF_SIZE = (OTHER_SIZE, TAGGED)


@dataclass
class Pictures:
    """The image files of a split that are there.

    Attributes:
        folder: what their names are relative to.
        names: one per picture.
        sizes: width and height in pixels as annotated; None where nothing says.
        digests: hashes of the content, by name, of files that were read whole.
    """

    folder: Path
    names: list[str]
    sizes: list[Size] | None = None
    digests: dict[str, bytes] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Return a picture's place."""
        return os.path.join(self.folder, name)


def missing_files(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names that are not in a folder or the folders below it."""
    # One listing a folder: asking for each of 118 000 files takes minutes on a network disk.
    present = set()
    for sub in {os.path.dirname(name) for name in names}:
        # A sub that is no folder, or no name of one, raises.
        with contextlib.suppress(OSError, ValueError), os.scandir(os.path.join(folder, sub)) as found:
            files = (entry.name for entry in found if not entry.is_dir(follow_symlinks=False))
            present |= {os.path.normpath(os.path.join(sub, name)) for name in files}
    return [name for name in names if os.path.normpath(name) not in present]


def check_sample(pictures: Pictures, split: str) -> Iterator[Row]:
    """Compare the sizes of a few pictures with the annotated ones, a row per check; unreadable ones are skipped."""
    found = _examine_all(pictures, range(0, len(pictures.names), len(pictures.names) // _SAMPLE + 1), decode=False)
    yield from _rows(pictures, split, found, _OF_SIZE, training=True)


def check_pictures(pictures: Pictures, split: str, *, training: bool, decode: bool) -> Iterator[Row]:
    """Read every image file, a row per check.

    Args:
        pictures: the files; their ``digests`` are filled in where they are decoded.
        split: its name in the rows.
        training: whether they are trained on, and not evaluated.
        decode: decode them; else their headers are read.
    """
    found = _examine_all(pictures, range(len(pictures.names)), decode)
    kinds = (ZERO, UNREADABLE, *(_OF_SIZE if pictures.sizes else (TAGGED,)))
    yield from _rows(pictures, split, found, kinds, training=training)
    if len(found[ZERO]) + len(found[UNREADABLE]) == len(pictures.names) > 0:
        yield _none_readable(pictures, split)


def check_decoding(pictures: Pictures, split: str, *, seconds: float = 5.0) -> Row:
    """Decode pictures that a training will evaluate, in a fixed random order: as many as all cores can in some seconds.

    Args:
        pictures: the files.
        split: its name in the row.
        seconds: after which no other picture is begun.
    """
    order = list(range(len(pictures.names)))
    random.Random(0).shuffle(order)
    places, tried, found = iter(order), itertools.count(), []
    end = time.monotonic() + seconds

    def work(_: int) -> None:
        for place in places:  # the threads share them
            if time.monotonic() > end:
                break
            next(tried)
            try:
                read_image(pictures.path(pictures.names[place]))
            except UserError as error:
                found.append(f"{printable(pictures.names[place])} ({printable(str(error.__cause__ or error))})")

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(work, range(available_cores())))
    decoded = next(tried)
    if len(found) == len(pictures.names) > 0:
        return _none_readable(pictures, split)
    outcome = _LEFT_OUT._replace(advice=f"Of {decoded} pictures that were tried. {_LEFT_OUT.advice}")
    return found_row(split, UNREADABLE, outcome, pictures.folder, len(found), sorted(found))


def _none_readable(pictures: Pictures, split: str) -> Row:
    message = f"{pictures.folder}: all {len(pictures.names)} image files cannot be read. Unpack the archive again."
    return Row(split, "image files that can be read", "error", 0, (), message)


def check_overlap(trained: Pictures, evaluated: Pictures, split: str, *, read: bool) -> Row:
    """Look for pictures that are trained on and evaluated: the same file or, if they may be read, the same content.

    Args:
        trained: what is trained on.
        evaluated: what is evaluated, in the split of that name.
        read: compare the content of files that were decoded, and of those with the same name and length.
    """
    known = {os.path.abspath(trained.path(name)) for name in trained.names}
    shared = {name for name in evaluated.names if os.path.abspath(evaluated.path(name)) in known}
    if read:
        _digest_alike(trained, evaluated)
        digests = set(trained.digests.values())
        shared |= {name for name, digest in evaluated.digests.items() if digest in digests}
    check = "pictures that are also trained on"
    outcome = Outcome("warning", "Their figures say nothing about new pictures: take them out of one of the two.")
    return found_row(split, check, outcome, evaluated.folder, len(shared), map(printable, sorted(shared)))


def _rows(
    pictures: Pictures, split: str, found: dict[str, list[str]], kinds: Sequence[str], *, training: bool
) -> Iterator[Row]:
    for kind in kinds:
        outcome = _OUTCOMES[kind][0 if training else 1]
        named = len(found[kind]) if kind == TAGGED else SHOWN
        yield found_row(split, kind, outcome, pictures.folder, len(found[kind]), found[kind], named)


def _digest_alike(*splits: Pictures) -> None:
    """Fill in the digests of the files of two splits that have the same name and length, unless they are known."""
    common = set.intersection(*({os.path.basename(name) for name in pictures.names} for pictures in splits))
    keys = [
        {
            name: (base, os.path.getsize(path))
            for name in pictures.names
            if (base := os.path.basename(name)) in common
            and name not in pictures.digests
            and os.path.isfile(path := pictures.path(name))
        }
        for pictures in splits
    ]
    alike = set.intersection(*(set(by_name.values()) for by_name in keys))
    for pictures, by_name in zip(splits, keys, strict=True):
        pictures.digests |= {name: _digest(pictures.path(name)) for name, key in by_name.items() if key in alike}


def _examine_all(pictures: Pictures, chosen: Sequence[int], decode: bool) -> dict[str, list[str]]:
    """Return what is wrong with the chosen pictures, by kind, on all cores if they are many."""
    examine = partial(_examine, decode)
    jobs = [(pictures.path(pictures.names[i]), pictures.sizes and pictures.sizes[i]) for i in chosen]
    found: dict[str, list[str]] = defaultdict(list)
    with ExitStack() as stack:
        if len(jobs) > _FEW:
            results = stack.enter_context(ProcessPoolExecutor(available_cores())).map(examine, jobs, chunksize=_FEW)
        else:
            results = map(examine, jobs)
        progress = track_progress(results, "Decoding" if decode else "Reading headers", len(jobs))
        for i, (kind, detail, digest) in zip(chosen, progress, strict=True):
            name = pictures.names[i]
            if kind:
                found[kind].append(f"{printable(name)} ({detail})" if detail else printable(name))
            if digest:
                pictures.digests[name] = digest
    return found


def _examine(decode: bool, job: tuple[str, Size | None]) -> tuple[str | None, str, bytes | None]:
    """Return what is wrong with a picture, if anything, the details, and the hash of a file that was decoded."""
    path, annotated = job
    try:
        check_regular(Path(path))
        if os.path.getsize(path) == 0:
            return ZERO, "", None
        with open_picture(path) as image:
            stored, tag = (image.height, image.width), orientation_tag(image)
        if decode:
            read_image(path)
        digest = _digest(path) if decode else None
    except (OSError, ValueError, UserError) as error:
        return UNREADABLE, printable(str(error.__cause__ or error)), None
    shape = annotated and annotated[::-1]
    found = turned_shape(stored, choose_turn(tag, stored, shape))
    if shape not in (None, found):
        return OTHER_SIZE, f"{found[1]}x{found[0]}, annotated {shape[1]}x{shape[0]}", digest
    return (None, "", digest) if tag == AS_STORED else (TAGGED, _describe_tag(tag, stored, shape), digest)


def _describe_tag(tag: int, stored: Shape, annotated: Shape | None) -> str:
    """Say how a picture with an orientation tag is used; ``annotated`` is None in a classifier's data."""
    upright = turned_shape(stored, tag)
    if annotated is None:
        used = "used as stored"
    elif stored == upright:
        used = "used upright, though its size cannot tell"
    else:
        used = f"used {'upright' if annotated == upright else 'as stored'}, as its annotated size says"
    return f"{tag}; {used}"


def _digest(path: str) -> bytes:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
