"""Record what MMDetection's Expand and MinIoURandomCrop draw for one small picture, the tests' reference (4 minutes).

python dev/ssd_views.py
"""

from pathlib import Path

import numpy as np

from benchmark.models import mmcv_ops

mmcv_ops.install()

from mmdet.datasets.transforms import Expand, MinIoURandomCrop
from mmdet.structures.bbox import HorizontalBoxes

FILE = Path(__file__).parents[1] / "tests/golden/mmdet_ssd_views.npz"
HEIGHT, WIDTH = 48, 64
BOXES = np.array([[2, 1, 60, 47], [4, 2, 62, 46]], dtype=np.float32)  # xyxy in pixels; all IoUs can be had
SEED, DRAWS = 0, 20_000


def stock_views(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the patches that are seen, (draws, 4) xyxy in pixels of the picture, and the boxes kept, (draws, 2)."""
    expand, crop = Expand(mean=(255, 255, 255), ratio_range=(1, 4), prob=0.5), MinIoURandomCrop()
    coordinates = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    coordinates[..., 0], coordinates[..., 1] = np.indices((HEIGHT, WIDTH))
    np.random.seed(SEED)
    patches, kept = np.zeros((draws, 4), dtype=np.int16), np.zeros((draws, len(BOXES)), dtype=bool)
    for draw in range(draws):
        sample = {"img": coordinates, "gt_bboxes": HorizontalBoxes(BOXES.copy()), "gt_bboxes_labels": np.arange(2)}
        seen = crop(expand(sample))
        rows, columns = np.nonzero(seen["img"][..., 2] == 0)  # a box's centre is in it, and so a pixel of the picture
        y, x = seen["img"][rows[0], columns[0], :2].astype(int) - (rows[0], columns[0])
        height, width = seen["img"].shape[:2]
        patches[draw] = x, y, x + width, y + height
        kept[draw, seen["gt_bboxes_labels"]] = True
    return patches, kept


if __name__ == "__main__":
    found = stock_views(DRAWS)
    np.savez_compressed(FILE, patches=found[0], kept=found[1])
    print(f"{FILE}: {DRAWS} draws")
