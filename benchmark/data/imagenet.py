"""ImageNet (ILSVRC 2012) on disk: the pictures of a split with their classes, and the reassessed labels (ReaL).

The 1000 classes are the challenge's synsets in alphabetical order, which is the order of every public classifier's
outputs; timm has the list. A picture's class is its synset's place among them, also where only some are there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from timm.data.imagenet_info import ImageNetInfo
from torchvision.datasets import VisionDataset

from backbones.errors import UserError, did_you_mean
from benchmark.data.layouts import LAYOUTS, PICTURES, class_folders
from benchmark.files.reading import read_regular

DEVKIT = Path("ILSVRC2012_devkit_t12/data")
_META, _TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
_FLAT = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")

SYNSETS: tuple[str, ...] = tuple(ImageNetInfo().label_names())


class ImageNet(VisionDataset):
    """The pictures of a split, as (path, class) in the order of their classes and names.

    Args:
        root: the data root.
        split: ``train`` or ``val``: a folder with a folder per synset, as many of the 1000 as there are; ``val`` may
            also hold the official archive's flat files, whose classes are in the development kit's list.

    Raises:
        UserError: no such folder, a folder in it that is none of the synsets, flat files without their list.
    """

    classes = SYNSETS

    def __init__(self, root: Path, split: str) -> None:
        super().__init__(root)
        folder = root / split
        if not folder.is_dir():
            raise UserError(f"{folder.absolute()} is missing.{_hint(root)} {LAYOUTS['imagenet'].obtain}")
        names, flat = class_folders(folder), sorted(path for path in folder.iterdir() if _FLAT.fullmatch(path.name))
        if names and flat:
            raise UserError(
                f"{folder.absolute()} holds class folders and {flat[0].name} beside them: move either away."
            )
        self.samples = _read_flat(root, flat) if flat else _read_folders(folder, names)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        """Return a picture's path and its class in 0..999."""
        return self.samples[index]


def read_real(path: Path) -> list[list[int]]:
    """Read the reassessed labels of the validation pictures (Beyer et al., Are We Done with ImageNet?, 2020).

    Args:
        path: ``real.json`` of github.com/google-research/reassessed-imagenet.

    Returns:
        The classes in 0..999 that each picture of the official order shows; none for a picture without any.

    Raises:
        UserError: another file.
    """
    expected = f"{path} is no file of ReaL labels: expected real.json of google-research/reassessed-imagenet, a list of"
    try:
        found = json.loads(read_regular(path))
    except OSError as error:
        raise UserError(f"ReaL labels cannot be read from {path}: {error}.") from error
    except ValueError as error:
        raise UserError(f"{expected} lists; found no JSON ({error}).") from error
    if not (isinstance(found, list) and found and all(map(_are_classes, found))):
        raise UserError(f"{expected} lists of classes in 0..{len(SYNSETS) - 1}.")
    return found


def real_labels(path: Path, pictures: Sequence[str]) -> list[list[int]]:
    """Return the reassessed labels of pictures, whose file names must be the official ones, ILSVRC2012_val_*.JPEG.

    Raises:
        UserError: another name, or a number that the file does not go up to.
    """
    by_number = read_real(path)
    numbers = [_number(Path(picture).name) for picture in pictures]
    for picture, number in zip(pictures, numbers, strict=True):
        if number is None or not 1 <= number <= len(by_number):
            raise UserError(
                f"{path} labels {len(by_number)} pictures by their official names, ILSVRC2012_val_*.JPEG; {picture} is "
                "none of them: leave the ReaL labels out."
            )
    return [by_number[number - 1] for number in numbers if number is not None]


def _are_classes(labels: Any) -> bool:
    return isinstance(labels, list) and all(type(label) is int and 0 <= label < len(SYNSETS) for label in labels)


def _number(name: str) -> int | None:
    """Return the place, from 1, of a validation picture in the official order."""
    match = _FLAT.fullmatch(name)
    return int(match[1]) if match else None


def _read_folders(folder: Path, names: Sequence[str]) -> list[tuple[str, int]]:
    places = {synset: place for place, synset in enumerate(SYNSETS)}
    if unknown := [name for name in names if name not in places]:
        raise UserError(
            f"{(folder / unknown[0]).absolute()}: {unknown[0]!r} is none of ImageNet's {len(SYNSETS)} synsets"
            f" ({len(unknown)} of {len(names)} class folders are not).{did_you_mean(unknown[0], SYNSETS)}"
        )
    return [
        (str(path), places[name])
        for name in names
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in PICTURES
    ]


def _read_flat(root: Path, pictures: Sequence[Path]) -> list[tuple[str, int]]:
    truth = _read_devkit(root / DEVKIT)
    samples = []
    for path in pictures:
        number = _number(path.name)
        if number not in truth:
            raise UserError(f"{path.absolute()}: {root / DEVKIT / _TRUTH} has no line {number}.")
        samples.append((str(path), truth[number]))
    return sorted(samples, key=lambda sample: (sample[1], sample[0]))


def _read_devkit(folder: Path) -> Mapping[int | None, int]:
    """Return the class of each validation picture by its number; the kit numbers the synsets in an order of its own."""
    try:
        rows = loadmat(str(folder / _META), squeeze_me=True)["synsets"]
        places = {
            int(row["ILSVRC2012_ID"]): SYNSETS.index(str(row["WNID"])) for row in rows if int(row["num_children"]) == 0
        }
        lines = read_regular(folder / _TRUTH).decode().split()
        return {number: places[int(line)] for number, line in enumerate(lines, 1)}
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"The classes of flat validation pictures are in {_META} and {_TRUTH} of {folder.absolute()}, which cannot "
            f"be read ({type(error).__name__}: {error}): unpack ILSVRC2012_devkit_t12.tar.gz in ROOT, or sort the "
            "pictures into a folder per synset."
        ) from error


def _hint(root: Path) -> str:
    inside = root.absolute().name in ("train", "val") and any(name in SYNSETS for name in class_folders(root))
    return f" Did you mean --data-root {root.absolute().parent}?" if inside else ""
