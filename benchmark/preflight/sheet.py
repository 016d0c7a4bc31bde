"""A contact sheet of annotated training pictures: what a table cannot say, a look can."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from PIL import Image, ImageDraw, ImageFont, ImageOps

from backbones.errors import UserError
from benchmark.data.annotations import is_countable, read_annotations
from benchmark.data.decode import UnreadableImageError, read_image
from benchmark.data.own.convert import read_converted
from benchmark.data.subsets import stratified_order
from benchmark.files.atomic import check_file
from benchmark.files.run_folder import is_drawn

PICTURES = 12
_DRAWN = ("category_id", "bbox")
_FONT_SHARE = 16  # of a square's side, a letter of a class's name


def check_sheet(path: Path, cfg: Config) -> None:
    """Check that a sheet can be written, and would replace nothing but another one.

    Raises:
        UserError: it cannot, is no .png file, or lies in a user's data set.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"--sheet {path}: expected a file that ends in .png, such as sheet.png.")
    check_file(path)
    if path.exists() and not (path.is_file() and is_drawn(path)):
        raise UserError(f"{path} is a file of another kind, which would be replaced: give another name.")
    folder = read_converted(Path(cfg.data_root)).folder if "own_data" in cfg else None
    if folder and path.resolve().is_relative_to(folder):
        raise UserError(f"{path} lies in the data set's own folder, into which nothing is written: give another place.")


def draw_sheet(cfg: Config, path: Path) -> int:
    """Draw training pictures with their annotations, every class first, and return how many there are.

    Args:
        cfg: a config whose data have been checked.
        path: the PNG file to write.

    Raises:
        UserError: no picture can be read.
    """
    from benchmark.evaluation.pictures import contact_sheet, save_drawn  # take PyTorch with them

    dataset = cfg.train_dataloader.dataset
    drawn = _boxes(dataset) if "ann_file" in dataset else _classes(dataset)
    if not drawn:
        raise UserError(f"No training picture below {dataset.data_root} can be drawn: none can be read.")
    save_drawn(contact_sheet(drawn), path)
    return len(drawn)


def _boxes(dataset: ConfigDict) -> list[Image.Image]:
    from benchmark.evaluation.pictures import draw_on

    root = Path(dataset.data_root)
    content = read_annotations(root / dataset.ann_file)
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in content["annotations"]:
        if entry["category_id"] in names and is_countable(entry["bbox"], entry["area"]):
            by_image[entry["image_id"]].append(entry)
    images = content["images"]
    shown = [{entry["category_id"] for entry in by_image[image["id"]]} for image in images]
    drawn: list[Image.Image] = []
    for place in stratified_order([image["file_name"] for image in images], shown):
        image = images[place]
        pixels = _read(root / dataset.data_prefix.img / image["file_name"], (image["height"], image["width"]))
        if pixels is not None:
            # In COCO's results format, boxes alone.
            objects = [{"score": 1.0, **{key: entry[key] for key in _DRAWN}} for entry in by_image[image["id"]]]
            drawn.append(draw_on(pixels, objects, names, 0, scores=False))
        if len(drawn) == PICTURES:
            break
    return drawn


def _classes(dataset: ConfigDict) -> list[Image.Image]:
    from benchmark.data.finegrained import read_split

    found = read_split(dataset.name, Path(dataset.data_root), dataset.split, allow_partial=dataset.allow_partial)
    names = [file for file, _ in found.samples]
    drawn: list[Image.Image] = []
    for place in stratified_order(names, [{label} for _, label in found.samples]):
        file, label = found.samples[place]
        if (picture := _read(Path(file), None)) is not None:
            drawn.append(_titled(picture, found.classes[label]))
        if len(drawn) == PICTURES:
            break
    return drawn


def _read(path: Path, annotated: tuple[int, int] | None) -> Image.Image | None:
    try:
        return Image.fromarray(read_image(str(path), "RGB", annotated))
    except UnreadableImageError:
        return None


def _titled(picture: Image.Image, title: str) -> Image.Image:
    from benchmark.evaluation.pictures import FONT, GRID_SIDE

    picture = ImageOps.contain(picture, (GRID_SIDE, GRID_SIDE))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(FONT, GRID_SIDE // _FONT_SHARE)
    draw.rectangle(draw.textbbox((2, 2), title, font=font), fill="white")
    draw.text((2, 2), title, fill="black", font=font)
    return picture
