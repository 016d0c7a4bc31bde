"""The generated class folders: objects cut out of the generated detection pictures."""

import tempfile
from pathlib import Path

from backbones.errors import UserError
from benchmark.data.demo import pictures as demo
from benchmark.data.demo.crops import crop_objects
from benchmark.data.demo.pictures import CLASSES
from benchmark.files.atomic import make_folder

__all__ = ["CLASSES", "make_demo_data"]

_SPLITS = {"train": "train2017", "test": "val2017"}
_MIN_SIDE = 32  # px


def make_demo_data(root: Path, *, train_images: int, val_images: int, seed: int = 0) -> Path:
    """Generate ``train/<class>/`` and ``test/<class>/`` below ``root`` unless they are there, and return ``root``.

    Args:
        root: folder to make.
        train_images: number of pictures whose objects make up ``train/``.
        val_images: likewise for ``test/``.
        seed: the same seed gives the same pictures.

    Raises:
        UserError: `root` holds anything else, or it cannot be written.
    """
    if all((root / split).is_dir() for split in _SPLITS):
        return root
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(
            f"Expected demo data or nothing at {root}, found something else. Choose another folder, or "
            "delete this one to have it made anew."
        )
    demo.check_place(root)
    make_folder(root.parent)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        source = demo.make_demo_data(
            Path(temporary) / "pictures", train_images=train_images, val_images=val_images, seed=seed
        )
        made = Path(temporary) / "crops"
        for split, name in _SPLITS.items():
            crop_objects(
                source / f"annotations/instances_{name}.json",
                source / name,
                made / split,
                min_side=_MIN_SIDE,
                classes=CLASSES,
            )
        try:
            made.rename(root)
        except OSError as error:  # a file system is mounted there
            raise UserError(f"Cannot move the demo data to {root}: {error.strerror}. Choose another folder.") from error
    return root
