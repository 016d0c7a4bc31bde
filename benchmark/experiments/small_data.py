"""Pictures of 32x32 pixels to train on: CIFAR's official files, or small data where there are none."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from backbones.errors import UserError
from benchmark.data.demo.class_folders import CLASSES, make_demo_data
from benchmark.experiments.frame import Run
from benchmark.experiments.table import DATA
from benchmark.experiments.units import write_arrays
from benchmark.files.atomic import write_atomically

SIDE = 32
_CIFAR = {"cifar10": CIFAR10, "cifar100": CIFAR100}
_MADE = "shapes.npz"
_DIGITS_TO_TRAIN, _MOST_OF_DIGITS = 1297, 16  # of 1797 pictures; the largest value of a pixel


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 32, 32, 3) of bytes and labels (N,) to train on and to test on.

    ``mirrors`` tells whether a mirrored picture is still of its class.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    mirrors: bool = True

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1


@dataclass(frozen=True)
class Source:
    """Where pictures come from, as other processes are told.

    Attributes:
        name: of ``DATA``.
        place: ``--data-root``, or for shapes the folder that ``make_shapes`` has filled.
        train: at most so many to train on, the first ones.
        test: likewise.
    """

    name: str
    place: Path
    train: int
    test: int

    @property
    def title(self) -> str:
        """What the data are called."""
        return DATA[self.name].title

    @property
    def small(self) -> bool:
        """Tell whether no document uses these data."""
        return not DATA[self.name].official

    def load(self) -> Pictures:
        """Return the pictures."""
        found = _READERS[self.name](self.place)
        return Pictures(
            found.train[: self.train],
            found.train_labels[: self.train],
            found.test[: self.test],
            found.test_labels[: self.test],
            found.mirrors,
        )


def open_source(run: Run) -> Source:
    """Return the pictures of a run, by its config; shapes are made in its folder."""
    assert run.data is not None
    if run.data == "shapes":
        scenes, held_out = run.config["scenes"]
        make_shapes(run.folder, scenes, held_out, seed=0)
    return Source(run.data, run.data_root or run.folder, run.config["train"], run.config["test"])


def check_data(name: str, root: Path | None) -> None:
    """Check that data are there: CIFAR's official files below ``root``, whole by their checksums; a package.

    Raises:
        UserError: they are not.
    """
    if name in _CIFAR:
        assert root is not None
        _check_cifar(name, root)
    if name == "digits" and importlib.util.find_spec("sklearn") is None:
        raise UserError(
            "Scikit-learn, whose digits these are, is not installed: pip install 'rexnet-benchmark[science]'."
        )


def _check_cifar(name: str, root: Path) -> None:
    for train in (True, False):
        try:
            _CIFAR[name](str(root), train=train)
        except (RuntimeError, OSError) as error:
            folder = root / _CIFAR[name].base_folder
            raise UserError(
                f"{DATA[name].title} is not whole in {folder}: expected its official files by their checksums. Unpack "
                "the official archive there, or leave --data-root out for small data."
            ) from error


def _read_cifar(name: str, place: Path) -> Pictures:
    parts = [_CIFAR[name](str(place), train=is_train) for is_train in (True, False)]
    train, test = ((part.data, np.array(part.targets)) for part in parts)
    return Pictures(*train, *test)


def _read_shapes(place: Path) -> Pictures:
    with np.load(place / _MADE, allow_pickle=False) as file:
        return Pictures(*(file[key] for key in ("train", "train_labels", "test", "test_labels")))


def _read_digits(place: Path) -> Pictures:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    scaled = (digits.images[order] * (255 / _MOST_OF_DIGITS)).astype(np.uint8)
    pictures = np.stack([np.asarray(_square(Image.fromarray(digit))) for digit in scaled])
    labels, split = digits.target[order], _DIGITS_TO_TRAIN
    return Pictures(pictures[:split], labels[:split], pictures[split:], labels[split:], mirrors=False)


_READERS: Mapping[str, Callable[[Path], Pictures]] = {
    "shapes": _read_shapes,
    "digits": _read_digits,
    "cifar10": lambda place: _read_cifar("cifar10", place),
    "cifar100": lambda place: _read_cifar("cifar100", place),
}


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
            (np.asarray(_read_square(path)), label)
            for label, name in enumerate(CLASSES)
            for path in sorted((root / split / name).glob("*.png"))
        ]
        order = np.random.default_rng(seed).permutation(len(found))
        arrays[split] = np.stack([found[at][0] for at in order])
        arrays[f"{split}_labels"] = np.array([found[at][1] for at in order])
    write_atomically(folder / _MADE, lambda path: write_arrays(path, arrays))


def _read_square(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return _square(picture)


def _square(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
