"""A converted data set of classified pictures, as torchvision's classes offer theirs."""

import json
from pathlib import Path

from torchvision.datasets import VisionDataset

from backbones.errors import UserError
from benchmark.data.own.convert import PICTURES


class ListedPictures(VisionDataset):
    """The pictures of a split with their classes.

    Args:
        root: the data set's folder in the cache.
        split: ``train`` or ``val``.

    Raises:
        UserError: it is not there.
    """

    def __init__(self, root: Path, split: str) -> None:
        super().__init__(root)
        path = Path(root) / f"{split}.json"
        if not path.is_file():
            raise UserError(f"{path} is gone: give --dataset and the data set's folder again, which makes it anew.")
        content = json.loads(path.read_text(encoding="utf-8"))
        self.classes: list[str] = content["classes"]
        self.samples: list[tuple[str, int]] = [
            (str(Path(root) / PICTURES / file), label) for file, label, _ in content["samples"]
        ]
        self.digests: list[str] = [digest for *_, digest in content["samples"]]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        """Return a picture's path and its class."""
        return self.samples[index]
