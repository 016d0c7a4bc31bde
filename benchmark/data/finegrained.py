"""Reading the classifiers' data sets: torchvision's classes for the official layouts, sizes checked on opening."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from torchvision import datasets

from backbones.errors import UserError
from benchmark.data.imagenet import ImageNet, real_labels
from benchmark.data.layouts import HELD_OUT, OWN, Layout, check_layout, find_layout
from benchmark.data.own.listed import ListedPictures
from benchmark.data.unreadable import TrainingSamples

VAL_SHARE = 0.2  # of trainval, where there is no official division
_SPLIT_SEED = 0


class _Flowers102(datasets.Flowers102):
    """torchvision's Flowers102 on what ``check_layout`` has found complete; parts of the data set may be opened."""

    def _check_integrity(self) -> bool:
        return True


# Each takes the data root and one of torchvision's splits. The loader leaves the pictures alone: only paths are read.
_READERS: Mapping[str, Callable[[Path, str], datasets.VisionDataset]] = {
    "food101": lambda root, split: datasets.Food101(root, split, loader=str),
    "cars": lambda root, split: datasets.StanfordCars(root, split, loader=str),
    "aircraft": lambda root, split: datasets.FGVCAircraft(root, split, loader=str),
    "flowers102": lambda root, split: _Flowers102(root, split, loader=str),
    "imagefolder": lambda root, split: datasets.ImageFolder(str(root / split), loader=str),
    "imagenet": ImageNet,
    OWN: ListedPictures,
}


@dataclass(frozen=True)
class Split:
    """A split of a data set.

    Attributes:
        classes: their names.
        samples: each picture's path and label.
        partial: whether it is smaller than the official one.
        real: all labels that each picture has been found to show, in the order of ``samples``; empty unless asked for.
        digests: hash of each picture's file by its path, where the data set knows them.
    """

    classes: tuple[str, ...]
    samples: tuple[tuple[str, int], ...]
    partial: bool
    real: tuple[tuple[int, ...], ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)

    def sha256(self, root: Path) -> str:
        """Return the hash of the list of pictures, as they lie below ``root``, and their classes."""
        lines = [
            f"{Path(path).relative_to(root)} {self.classes[label]}{self.digests.get(path, '')}"
            for path, label in self.samples
        ]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def read_split(
    name: str, root: Path, split: str, *, allow_partial: bool = False, real: str | Path | None = None
) -> Split:
    """Read a split from its official files.

    Args:
        name: a key of ``LAYOUTS``.
        root: the data root.
        split: ``trainval``, ``train``, ``val`` or ``test``. Where the authors have no ``train`` and ``val``, a fixed
            ``VAL_SHARE`` of each class of ``trainval`` is ``val``.
        allow_partial: let fewer images than the official ones through.
        real: a file of ImageNet's reassessed labels, see ``benchmark.data.imagenet.read_real``.

    Raises:
        UserError: incomplete, unreadable, labels outside the classes, or not of the official size.
    """
    layout = find_layout(name)
    if split not in (*layout.parts, *HELD_OUT):
        raise UserError(f"{layout.title} has no split {split!r}: expected trainval, train, val or test.")
    check_layout(name, root)
    official = split if split in layout.parts else "trainval"
    try:
        parts = [_READERS[name](root, part) for part in layout.parts[official]]
        classes = tuple(parts[0].classes)
        samples = [(str(path), int(label)) for part in parts for path, label in _items(part)]
    except UserError:
        raise
    except Exception as error:  # every format's reader has its own for a damaged file
        raise UserError(
            f"{layout.title}, split {official}, cannot be read from {(root / layout.folder).absolute()}: "
            f"{type(error).__name__}: {error}. Unpack its archive again."
        ) from error
    _check_labels(layout, official, classes, samples)
    partial = _check_size(layout, official, len(samples), allow_partial)
    if split != official:
        samples = stratified(samples)[split]
    shown = real_labels(Path(real), [path for path, _ in samples]) if real else []
    digests: dict[str, str] = {}
    for part in parts if name == OWN else ():
        digests |= {path: digest for (path, _), digest in zip(part.samples, part.digests, strict=True)}
    return Split(classes, tuple(samples), partial, tuple(map(tuple, shown)), digests)


def stratified(samples: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Divide samples into ``train`` and ``val``: a seeded ``VAL_SHARE`` of every class, at least one of two."""
    by_class: dict[int, list[tuple[str, int]]] = {}
    for sample in sorted(samples):
        by_class.setdefault(sample[1], []).append(sample)
    divided: dict[str, list[tuple[str, int]]] = {"train": [], "val": []}
    for label, members in sorted(by_class.items()):
        random.Random(f"{_SPLIT_SEED} {label}").shuffle(members)
        held_out = max(round(VAL_SHARE * len(members)), 1 if len(members) > 1 else 0)
        divided["val"] += members[:held_out]
        divided["train"] += members[held_out:]
    return divided


@DATASETS.register_module()
class FineGrainedDataset(TrainingSamples, BaseDataset):
    """A split of a fine-grained data set; it does without pictures that cannot be decoded.

    Args:
        name: a key of ``LAYOUTS``.
        split: see ``read_split``.
        allow_partial: let fewer images than the official ones through; ``metainfo['partial']`` tells.
        real: see ``read_split``.
        kwargs: of MMEngine's BaseDataset.
    """

    def __init__(
        self, name: str, split: str, allow_partial: bool = False, real: str | None = None, **kwargs: Any
    ) -> None:
        self.name, self.split, self.allow_partial, self.real = name, split, allow_partial, real
        super().__init__(**kwargs)

    @property
    def annotations_sha256(self) -> str:
        """Hash of the list of pictures and their classes."""
        return self.metainfo["annotations_sha256"]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return each picture's ``img_path`` and ``gt_label``, and ``real_labels`` where they were asked for."""
        root = Path(self.data_root)
        found = read_split(self.name, root, self.split, allow_partial=self.allow_partial, real=self.real)
        self._metainfo |= {
            "name": find_layout(self.name).title,
            "classes": found.classes,
            "split": self.split,
            "images": len(found.samples),
            "partial": found.partial,
            "annotations_sha256": found.sha256(root),
        }
        samples: list[dict[str, Any]] = [{"img_path": path, "gt_label": label} for path, label in found.samples]
        for sample, shown in zip(samples, found.real, strict=bool(found.real)):
            sample["real_labels"] = shown
        return samples


def _items(part: datasets.VisionDataset) -> list[tuple[Any, int]]:
    return [part[index] for index in range(len(part))]


def _check_labels(layout: Layout, split: str, classes: tuple[str, ...], samples: list[tuple[str, int]]) -> None:
    if layout.classes is not None and len(classes) != layout.classes:
        raise UserError(
            f"{layout.title} has {layout.classes} classes, the files of its split {split} list {len(classes)}. "
            f"Also a part of the data must keep the list of all classes. {layout.obtain}"
        )
    outside = [(path, label) for path, label in samples if not 0 <= label < len(classes)]
    if outside:
        path, label = outside[0]
        raise UserError(
            f"{layout.title}, split {split}: {len(outside)} labels lie outside 1..{len(classes)}; the first: "
            f"{label + 1} of {path}. The label file is damaged: fetch it again."
        )
    repeated = [path for path, count in Counter(path for path, _ in samples).items() if count > 1]
    if repeated:
        raise UserError(f"{layout.title}, split {split}: {len(repeated)} images are listed twice, {repeated[0]} first.")


def _check_size(layout: Layout, split: str, found: int, allow_partial: bool) -> bool:
    """Tell whether the split is smaller than the official one, which must be allowed."""
    if found == 0:
        raise UserError(f"{layout.title}, split {split}, lists no images. {layout.obtain}")
    expected = layout.images.get(split, found)
    if found != expected and not allow_partial:
        raise UserError(
            f"{layout.title}, split {split}: expected {expected} images, found {found}. Unpack the whole archive, "
            "or give --allow-partial: results are then marked as partial."
        )
    return found != expected
