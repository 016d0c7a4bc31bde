"""Pictures of 32x32 pixels to train on: CIFAR's official files, or shapes that are generated where there are none."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from backbones.errors import UserError
from benchmark.data.demo.class_folders import CLASSES, make_demo_data
from benchmark.experiments.units import write_arrays
from benchmark.files.atomic import write_atomically

SIDE = 32
SHAPES = "generated shapes"
_CIFAR = {"CIFAR-10": CIFAR10, "CIFAR-100": CIFAR100}
_MADE = "shapes.npz"


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 32, 32, 3) of bytes and labels (N,) to train on and to test on."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1


def check_cifar(name: str, root: Path) -> None:
    """Check that CIFAR's official files are below a folder, whole by their checksums.

    Raises:
        UserError: they are not.
    """
    for train in (True, False):
        try:
            _CIFAR[name](str(root), train=train)
        except (RuntimeError, OSError) as error:
            folder = root / _CIFAR[name].base_folder
            raise UserError(
                f"{name} is not whole in {folder}: expected its official files by their checksums. Unpack the official "
                "archive there, or leave --data-root out for small data."
            ) from error


def load_pictures(name: str, place: Path, train: int, test: int) -> Pictures:
    """Return pictures by the name of their data.

    Args:
        name: a CIFAR, or ``SHAPES``.
        place: ``--data-root``, or for shapes the folder that ``make_shapes`` has filled.
        train: at most so many to train on, the first ones.
        test: likewise.
    """
    if name == SHAPES:
        with np.load(place / _MADE, allow_pickle=False) as file:
            found = Pictures(*(file[key] for key in ("train", "train_labels", "test", "test_labels")))
    else:
        parts = [_CIFAR[name](str(place), train=is_train) for is_train in (True, False)]
        found = Pictures(*(array for part in parts for array in (part.data, np.array(part.targets))))
    return Pictures(found.train[:train], found.train_labels[:train], found.test[:test], found.test_labels[:test])


def make_shapes(folder: Path, train: int, test: int, seed: int) -> None:
    """Generate pictures of six shapes into a folder, unless they are there.

    Args:
        folder: of the experiment.
        train: number of scenes whose objects are trained on, several each.
        test: likewise.
        seed: the same seed gives the same pictures.
    """
    if (folder / _MADE).is_file():
        return
    root = make_demo_data(folder / "shapes", train_images=train, val_images=test, seed=seed)
    arrays = {}
    for split in ("train", "test"):
        found = [
            (np.asarray(_square(path)), label)
            for label, name in enumerate(CLASSES)
            for path in sorted((root / split / name).glob("*.png"))
        ]
        order = np.random.default_rng(seed).permutation(len(found))
        arrays[split] = np.stack([found[at][0] for at in order])
        arrays[f"{split}_labels"] = np.array([found[at][1] for at in order])
    write_atomically(folder / _MADE, lambda path: write_arrays(path, arrays))


def _square(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
