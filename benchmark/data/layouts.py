"""The classifiers' data sets: one row each, with their official layout; imports neither torch nor torchvision."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backbones.errors import UserError, did_you_mean

HELD_OUT = ("train", "val")
PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder


@dataclass(frozen=True)
class Layout:
    """A data set on disk.

    Attributes:
        title: its name in tables.
        folder: where it lies below the data root.
        files: what must lie in that folder.
        classes: number of classes, None where they are read from the folders.
        images: number of images of each official split; empty where there is no official one.
        parts: our split -> the splits of torchvision's class that make it up. Where ``train`` and ``val`` are not among
            them they are a fixed, seeded, stratified division of ``trainval``.
        metric: the figure that its authors report, and that the sweep maximises.
        obtain: how to get it.
    """

    title: str
    folder: str
    files: tuple[str, ...]
    classes: int | None
    images: Mapping[str, int]
    parts: Mapping[str, tuple[str, ...]]
    metric: str
    obtain: str


_HALVES = {"trainval": ("train",), "test": ("test",)}
_DOWNLOAD = "python -c \"from torchvision.datasets import {0}; {0}('ROOT', download=True)\""

LAYOUTS = {
    "food101": Layout(
        title="Food-101",
        folder="food-101",
        files=("meta/train.json", "meta/test.json", "images"),
        classes=101,
        images={"trainval": 75_750, "test": 25_250},
        parts=_HALVES,
        metric="top1",
        obtain="Unpack food-101.tar.gz of https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/ in ROOT, or: "
        + _DOWNLOAD.format("Food101"),
    ),
    "cars": Layout(
        title="Stanford Cars",
        folder="stanford_cars",
        files=(
            "devkit/cars_meta.mat",
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
            "cars_train",
            "cars_test",
        ),
        classes=196,
        images={"trainval": 8_144, "test": 8_041},
        parts=_HALVES,
        metric="top1",
        obtain="Its official page (https://ai.stanford.edu/~jkrause/cars/car_dataset.html) no longer serves it. Find "
        "cars_train, cars_test, the devkit and cars_test_annos_withlabels.mat in a copy of the original archives, "
        "such as those on Kaggle, and put them into ROOT/stanford_cars.",
    ),
    "aircraft": Layout(
        title="Aircraft",
        folder="fgvc-aircraft-2013b",
        files=(
            "data/variants.txt",
            *(f"data/images_variant_{split}.txt" for split in ("train", "val", "trainval", "test")),
            "data/images",
        ),
        classes=100,
        images={"trainval": 6_667, "train": 3_334, "val": 3_333, "test": 3_333},
        parts={split: (split,) for split in ("trainval", "train", "val", "test")},
        metric="mean_per_class",
        obtain="Unpack fgvc-aircraft-2013b.tar.gz of https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/ in ROOT, or: "
        + _DOWNLOAD.format("FGVCAircraft"),
    ),
    "flowers102": Layout(
        title="Flowers-102",
        folder="flowers-102",
        files=("setid.mat", "imagelabels.mat", "jpg"),
        classes=102,
        images={"trainval": 2_040, "train": 1_020, "val": 1_020, "test": 6_149},
        parts={"trainval": ("train", "val"), "train": ("train",), "val": ("val",), "test": ("test",)},
        metric="mean_per_class",
        obtain="Unpack 102flowers.tgz of https://www.robots.ox.ac.uk/~vgg/data/flowers/102/ in ROOT/flowers-102 and "
        "put setid.mat and imagelabels.mat beside its jpg folder, or: " + _DOWNLOAD.format("Flowers102"),
    ),
    "imagefolder": Layout(
        title="ImageFolder",
        folder=".",
        files=("train", "test"),
        classes=None,
        images={},
        parts=_HALVES,
        metric="top1",
        obtain="Put the pictures into ROOT/train/<class>/ and ROOT/test/<class>/.",
    ),
    "imagenet": Layout(
        title="ImageNet",
        folder=".",
        files=(),  # a split alone will do
        classes=1_000,
        images={"train": 1_281_167, "val": 50_000},
        parts={"train": ("train",), "val": ("val",)},
        metric="top1",
        obtain="Register at https://image-net.org/ and unpack ILSVRC2012_img_train.tar into ROOT/train/<synset>/, "
        "ILSVRC2012_img_val.tar into ROOT/val/, and ILSVRC2012_devkit_t12.tar.gz in ROOT.",
    ),
}


OWN = "own"  # the name of a user's own data, once they are converted
_OWN = Layout(
    title="Own data",
    folder=".",
    files=("train.json", "val.json"),
    classes=None,
    images={},
    parts={"trainval": ("train",), "test": ("val",)},
    metric="top1",
    obtain="Give --dataset and the data set's folder again, which makes them anew.",
)


def find_layout(name: str) -> Layout:
    """Return the row of a data set.

    Raises:
        UserError: unknown name.
    """
    if name == OWN:
        return _OWN
    if name not in LAYOUTS:
        raise UserError(f"Unknown data set {name!r}.{did_you_mean(name, LAYOUTS)} Known: {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def check_layout(name: str, root: Path) -> None:
    """Check that a data set's folder holds what its official archive unpacks to.

    Raises:
        UserError: the first file or folder that is missing, and how to get it; for class folders also the first
            without pictures, and classes of train/ that test/ does not have.
    """
    layout = find_layout(name)
    folder = root / layout.folder
    missing = [file for file in layout.files if not (folder / file).exists()]
    if missing:
        raise UserError(
            f"{layout.title} is not complete: {(folder / missing[0]).absolute()} is missing "
            f"({len(missing)} of {len(layout.files)} are).{_hint(layout, root)} With ROOT for {root.absolute()}: "
            f"{layout.obtain} Give --data-root DIR or set DATA_ROOT if it lies elsewhere."
        )
    if name != OWN and layout.classes is None:
        _check_class_folders(folder)


def count_classes(name: str, root: Path) -> int | None:
    """Return the number of classes; for class folders that are not there, None."""
    layout = find_layout(name)
    return layout.classes or len(class_folders(root / "train")) or None


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it does not exist."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _check_class_folders(folder: Path) -> None:
    train, test = (class_folders(folder / split) for split in ("train", "test"))
    if train != test or not train:
        differing = sorted(set(train) ^ set(test))
        raise UserError(
            f"{folder.absolute()}: train/ has {len(train)} class folders and test/ {len(test)}, expected the same ones"
            f"{f'; only in one of them: {differing[0]}' if differing else ''}."
        )
    for split in ("train", "test"):
        for name in train:
            if not any(path.suffix.lower() in PICTURES for path in (folder / split / name).rglob("*")):
                raise UserError(
                    f"Class folder without pictures: {(folder / split / name).absolute()}; expected files ending in "
                    f"{', '.join(PICTURES)}. Add some, or remove the class from train/ and test/."
                )


def _hint(layout: Layout, root: Path) -> str:
    return f" Did you mean --data-root {root.absolute().parent}?" if root.absolute().name == layout.folder else ""
