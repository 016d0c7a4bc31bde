"""Drawing detections on pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as mask_codec
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks, make_grid

from benchmark.files.atomic import make_folder
from benchmark.files.run_folder import MARK

FONT = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
GRID_SIDE = 320  # px
_SIDE_PER_LINE, _SIDE_PER_LETTER = 400, 50  # lines and letters grow with large pictures


def class_colours(count: int) -> list[tuple[int, int, int]]:
    """Return a distinct colour for each of so many classes."""
    palette = matplotlib.colormaps["tab10" if count <= 10 else "hsv"]
    steps = range(count) if count <= 10 else (i / count for i in range(count))
    colours = np.array([palette(step)[:3] for step in steps])
    return [(red, green, blue) for red, green, blue in (255 * colours).round().astype(int).tolist()]


def draw_on(
    image: Image.Image, detections: Iterable[dict], names: dict[int, str], threshold: float, *, scores: bool = True
) -> Image.Image:
    """Draw the detections of one picture, with masks where they have them, that score at least ``threshold``.

    Args:
        image: the picture, RGB.
        detections: in COCO's results format.
        names: class name by category id.
        threshold: lowest score drawn, in 0..1.
        scores: whether they are written beside the classes.
    """
    kept = sorted((d for d in detections if d["score"] >= threshold), key=lambda d: d["score"])
    if not kept:
        return image
    picture = pil_to_tensor(image)  # (3, H, W)
    colours = dict(zip(names, class_colours(len(names)), strict=True))
    masks = [mask_codec.decode(d["segmentation"]) for d in kept if "segmentation" in d]
    if masks:
        picture = draw_segmentation_masks(
            picture, torch.tensor(np.stack(masks), dtype=torch.bool), 0.5, [colours[d["category_id"]] for d in kept]
        )
    boxes = torch.tensor([[x, y, x + max(w, 1), y + max(h, 1)] for x, y, w, h in (d["bbox"] for d in kept)])
    side = max(image.size)
    drawn = draw_bounding_boxes(
        picture,
        boxes,
        labels=[names[d["category_id"]] + (f" {100 * d['score']:.0f}%" if scores else "") for d in kept],
        colors=[colours[d["category_id"]] for d in kept],
        width=max(2, side // _SIDE_PER_LINE),
        font=FONT,
        font_size=max(13, side // _SIDE_PER_LETTER),
        fill_labels=True,
    )
    return to_pil_image(drawn)


def save_drawn(image: Image.Image, path: Path) -> None:
    """Save a picture as PNG with a mark that tells it from a user's own, in a folder that is made."""
    text = PngInfo()
    text.add_text("Software", MARK)
    make_folder(path.parent)
    image.save(path, pnginfo=text)


def contact_sheet(pictures: Sequence[Image.Image], columns: int = 4) -> Image.Image:
    """Lay pictures of any size out in one, each fitted into a square."""
    squares = []
    for picture in pictures:
        fitted = picture.copy()
        fitted.thumbnail((GRID_SIDE, GRID_SIDE))
        square = Image.new("RGB", (GRID_SIDE, GRID_SIDE), "white")
        square.paste(fitted, ((GRID_SIDE - fitted.width) // 2, (GRID_SIDE - fitted.height) // 2))
        squares.append(pil_to_tensor(square))
    return to_pil_image(make_grid(squares, nrow=min(columns, len(squares)), padding=6, pad_value=255))
