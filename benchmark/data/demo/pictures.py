"""The generated data set: pictures of shaded shapes, laid out and annotated as COCO 2017 is.

It lets every command of the project run within minutes and without a download, on a task that is easy but real:
six classes in any rotation, sizes on both sides of COCO's area thresholds, mild occlusion, crowd regions, pictures
without objects, and category ids with gaps. A class has its own colour, but some objects wear another's, so that the
shape has to be learnt.

Annotations are of the whole outline, also where another object lies over it. To keep that honest, a scene is rejected
in which more than `MAX_HIDDEN` of any object could be covered.
"""

import colorsys
import json
import math
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pycocotools import mask as coco_mask

from backbones.errors import UserError

if TYPE_CHECKING:
    from pycocotools import _EncodedRLE

GENERATOR_VERSION = 1  # raise it with every change of the pictures or annotations: sets made before are then refused
MANIFEST = "demo.json"
MAX_HIDDEN = 0.15  # share of an object's area that others may cover

_SIDE = (240, 480)  # px, width and height
_SCALE = (28.0, 200.0)  # px, the square root of an object's area
_CROWD_SCALE = (12.0, 20.0)
_CROWD_MEMBERS = (12, 24)
_MAX_OBJECTS = 8
_CROWD_SHARE = 0.06  # of the pictures
_EMPTY_SHARE = 0.03
_ODD_COLOUR_SHARE = 0.1  # of the objects
_PLACING_ATTEMPTS = 30
_MARGIN = 2.0  # px between an object and the picture's edge
_SUPERSAMPLING = 4
_JPEG_QUALITY = 92

Array = np.ndarray


@dataclass(frozen=True)
class _Split:
    name: str
    stream: int  # keeps the split's random numbers apart from the other's
    first_image_id: int


_SPLITS = (_Split("train2017", stream=0, first_image_id=1), _Split("val2017", stream=1, first_image_id=1_000_001))


def _on_circle(points: int, radius: float | Array = 1.0) -> Array:
    angles = 2 * np.pi * np.arange(points) / points
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.reshape(radius, (-1, 1))


def _rectangle() -> Array:
    return np.array([(-1.0, -0.75), (1.0, -0.75), (1.0, 0.75), (-1.0, 0.75)])


def _star() -> Array:
    return _on_circle(10, np.tile([1.0, 0.45], 5))


def _cross() -> Array:
    arm = [(1.0, -0.33), (1.0, 0.33), (0.33, 0.33)]
    quarter_turn = np.array([(0.0, 1.0), (-1.0, 0.0)])
    return np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, turns) for turns in range(4)])


def _crescent() -> Array:
    tip, centre = np.pi / 3, 0.55  # the inner arc's centre on the x axis; both arcs end in the tips
    outer = np.linspace(tip, 2 * np.pi - tip, 30)
    half = np.arctan2(np.sin(tip), np.cos(tip) - centre)
    inner = np.linspace(2 * np.pi - half, half, 22)[1:-1]
    radius = np.hypot(np.sin(tip), np.cos(tip) - centre)
    return np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], axis=1),
            np.stack([centre + radius * np.cos(inner), radius * np.sin(inner)], axis=1),
        ]
    )


@dataclass(frozen=True)
class _Kind:
    category_id: int  # with gaps, as COCO's
    name: str
    supercategory: str
    hue: float  # of 1
    outline: Array  # (P, 2), any scale


_KINDS = (
    _Kind(2, "ellipse", "curved", 0.02, _on_circle(40)),
    _Kind(3, "rectangle", "convex", 0.59, _rectangle()),
    _Kind(5, "triangle", "convex", 0.37, _on_circle(3)),
    _Kind(11, "star", "concave", 0.13, _star()),
    _Kind(17, "cross", "concave", 0.89, _cross()),
    _Kind(44, "crescent", "curved", 0.75, _crescent()),
)

CLASSES: tuple[str, ...] = tuple(kind.name for kind in _KINDS)


@dataclass(frozen=True)
class _Thing:
    """One annotation: an object has one polygon, a crowd one for each member."""

    kind: _Kind
    polygons: list[Array]  # (P, 2) each, px
    rle: "_EncodedRLE"  # the union of the polygons, pycocotools' compressed form
    is_crowd: bool

    @property
    def area(self) -> float:
        return float(coco_mask.area(self.rle))


def made_images(root: Path) -> dict[str, int]:
    """Return how many pictures the demo data at `root` have, as arguments of `make_demo_data`; nothing without them."""
    manifest = _read_manifest(root)
    return {key: manifest[key] for key in ("train_images", "val_images") if isinstance(manifest.get(key), int)}


def check_place(root: Path) -> None:
    """Refuse to make demo data in the folder that this process is in: they are moved there as a whole.

    Raises:
        UserError: it is that folder.
    """
    if root.exists() and root.samefile("."):
        raise UserError(f"Demo data cannot be made in the current folder itself ({root}): give another one.")


def _read_manifest(root: Path) -> dict:
    try:
        found = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def make_demo_data(root: Path, *, train_images: int = 400, val_images: int = 100, seed: int | None = None) -> Path:
    """Generate the demo data set below `root`, unless exactly this one is there already, and return `root`.

    The layout is COCO's: `annotations/instances_{train,val}2017.json` and `{train,val}2017/*.jpg`. Every picture has
    its own random stream, from the seed, the split and its number: no picture is in both splits, and a larger set
    begins with the pictures of a smaller one. The same seed gives the same files under the same versions of NumPy and
    Pillow. The folder appears at once and whole, so several processes may call this at the same time. The default
    size takes about 10 s on one core, and 18 MB. Without a seed it is that of the data at `root`, else 0.

    Raises:
        UserError: a number is out of range, `root` holds anything else, or it cannot be written.
    """
    if seed is None:
        seed = _read_manifest(Path(root)).get("seed", 0)
    if train_images < 1 or val_images < 1 or seed < 0:
        raise UserError(
            "The demo data needs at least 1 picture a split and a seed of at least 0, "
            f"found {train_images} train pictures, {val_images} val pictures and seed {seed}."
        )
    manifest = {
        "generator_version": GENERATOR_VERSION,
        "train_images": train_images,
        "val_images": val_images,
        "seed": seed,
    }
    final = Path(root).resolve()
    if _is_made(final, manifest):
        return root
    check_place(root)
    unfinished = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
    try:
        for split, count in zip(_SPLITS, (train_images, val_images), strict=True):
            _write_split(unfinished, split, count, seed)
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        unfinished.rename(final)
    except OSError as error:
        if not _is_made(final, manifest):  # else another process was faster, and its copy is the same
            raise UserError(
                f"Cannot write the demo data to {root}: {error.strerror}. Choose a writable folder with room for it."
            ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


def _is_made(root: Path, manifest: dict) -> bool:
    """Tell whether `root` holds this data set (True) or nothing yet (False).

    Raises:
        UserError: it holds anything else, or not all of it.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    advice = "Choose another folder, or delete this one to have it made anew."
    if not (root / MANIFEST).is_file():
        raise UserError(
            f"Expected demo data or nothing at {root}, found something else (no {MANIFEST} in it). {advice}"
        )
    found = (root / MANIFEST).read_text()
    if found != json.dumps(manifest, indent=2) + "\n":
        raise UserError(f"Expected demo data with {manifest} at {root}, found {' '.join(found.split())}. {advice}")
    for split, count in zip(_SPLITS, (manifest["train_images"], manifest["val_images"]), strict=True):
        pictures = sum(1 for _ in (root / split.name).glob("*.jpg"))
        if pictures != count or not _annotation_file(root, split).is_file():
            raise UserError(
                f"Expected {count} pictures in {root / split.name} and their {_annotation_file(root, split).name}, "
                f"found {pictures} pictures or no such file. {advice}"
            )
    return True


def _annotation_file(root: Path, split: _Split) -> Path:
    return root / "annotations" / f"instances_{split.name}.json"


def _write_split(root: Path, split: _Split, count: int, seed: int) -> None:
    folder = root / split.name
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, split.stream, number])
        image_id = split.first_image_id + number
        width, height = (int(side) for side in rng.integers(_SIDE[0], _SIDE[1], size=2, endpoint=True))
        things = _scene(rng, width, height)
        file_name = f"{image_id:012d}.jpg"
        _picture(rng, width, height, things).save(folder / file_name, quality=_JPEG_QUALITY)
        images.append(_image_entry(image_id, file_name, width, height))
        annotations += [_annotation(image_id, index, thing) for index, thing in enumerate(things)]
    content = {
        "info": {
            "description": "Generated shapes in the format of COCO 2017",
            "url": "",
            "version": str(GENERATOR_VERSION),
            "year": 2026,
            "contributor": "",
            "date_created": "2026/11/21",
        },
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"supercategory": kind.supercategory, "id": kind.category_id, "name": kind.name} for kind in _KINDS
        ],
    }
    path = _annotation_file(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")))


def _image_entry(image_id: int, file_name: str, width: int, height: int) -> dict:
    return {
        "license": 1,
        "file_name": file_name,
        "coco_url": "",
        "height": height,
        "width": width,
        "date_captured": "2026-11-21 00:00:00",
        "flickr_url": "",
        "id": image_id,
    }


def _annotation(image_id: int, index: int, thing: _Thing) -> dict:
    corners = np.concatenate(thing.polygons)
    box = [*corners.min(axis=0), *np.ptp(corners, axis=0)]
    return {
        "segmentation": _uncompressed(thing.rle) if thing.is_crowd else [thing.polygons[0].ravel().tolist()],
        "area": thing.area,
        "iscrowd": int(thing.is_crowd),
        "image_id": image_id,
        "bbox": [round(float(value), 2) for value in box],
        "category_id": thing.kind.category_id,
        "id": 100 * image_id + index,
    }


def _uncompressed(rle: "_EncodedRLE") -> dict:
    """Return the form of COCO's files: run lengths down the columns, the first of them of background."""
    pixels = coco_mask.decode(rle).ravel(order="F")
    turns = np.flatnonzero(np.diff(pixels, prepend=0)).tolist()
    counts = [end - start for start, end in pairwise([0, *turns, pixels.size])]
    return {"counts": counts, "size": [int(side) for side in rle["size"]]}


# What is in a picture


def _scene(rng: np.random.Generator, width: int, height: int) -> list[_Thing]:
    """Return the things in a picture, in the order they are painted."""
    if rng.random() < _EMPTY_SHARE:
        return []
    makers = [_object] * int(rng.integers(1, _MAX_OBJECTS, endpoint=True))
    if rng.random() < _CROWD_SHARE:
        makers.insert(0, _crowd)
    things: list[_Thing] = []
    hidden: list[float] = []  # px, at most so much of each thing is covered
    for make in makers:
        for _ in range(_PLACING_ATTEMPTS):
            thing = make(rng, width, height)
            overlaps = [float(coco_mask.area(coco_mask.merge([below.rle, thing.rle], True))) for below in things]
            covered = [before + overlap for before, overlap in zip(hidden, overlaps, strict=True)]
            limits = [MAX_HIDDEN * min(below.area, thing.area) for below in things]
            if all(value <= limit for value, limit in zip(covered, limits, strict=True)):
                things.append(thing)
                hidden = [*covered, 0.0]
                break
    return things


def _thing(kind: _Kind, polygons: list[Array], width: int, height: int, is_crowd: bool) -> _Thing:
    rles = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], height, width)
    return _Thing(kind, polygons, coco_mask.merge(rles), is_crowd)


def _object(rng: np.random.Generator, width: int, height: int) -> _Thing:
    kind = _KINDS[rng.integers(len(_KINDS))]
    while True:
        polygon = _posed(rng, kind, scale=np.exp(rng.uniform(*np.log(_SCALE))))
        room = np.array([width, height]) - 2 * _MARGIN - np.ptp(polygon, axis=0)
        if room.min() >= 0:
            corner = _MARGIN + room * rng.random(2)
            return _thing(kind, [np.round(polygon - polygon.min(axis=0) + corner, 2)], width, height, is_crowd=False)


def _crowd(rng: np.random.Generator, width: int, height: int) -> _Thing:
    kind = _KINDS[rng.integers(len(_KINDS))]
    size = np.array([width, height])
    reach = rng.uniform(0.15, 0.25, size=2) * size
    centre = reach + (size - 2 * reach) * rng.random(2)
    members = []
    for _ in range(rng.integers(*_CROWD_MEMBERS, endpoint=True)):
        polygon = _posed(rng, kind, scale=rng.uniform(*_CROWD_SCALE))
        half = np.ptp(polygon, axis=0) / 2 + _MARGIN
        place = np.clip(centre + rng.normal(0, 0.4, size=2) * reach, half, size - half)
        members.append(np.round(polygon - polygon.min(axis=0) - half + _MARGIN + place, 2))
    return _thing(kind, members, width, height, is_crowd=True)


def _posed(rng: np.random.Generator, kind: _Kind, scale: float) -> Array:
    """Return the outline stretched, rotated and scaled to an area of `scale` squared; (P, 2), px."""
    stretch = np.exp(rng.uniform(-0.2, 0.2))
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    polygon = kind.outline * (stretch, 1 / stretch) @ rotation.T
    x, y = polygon.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return polygon * (scale / np.sqrt(area))


# How it is painted. A canvas is (height, width, 3) float32, RGB from 0 to 1.


def _picture(rng: np.random.Generator, width: int, height: int, things: list[_Thing]) -> Image.Image:
    canvas = _background(rng, width, height)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    for thing in things:
        for polygon in thing.polygons:
            _paint(canvas, polygon, _colour(rng, thing.kind), light)
    canvas += rng.uniform(0.005, 0.02) * rng.standard_normal((height, width, 1), dtype=np.float32)
    return Image.fromarray((np.clip(canvas, 0, 1) * 255).round().astype(np.uint8))


def _rgb(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def _colour(rng: np.random.Generator, kind: _Kind) -> Array:
    hue = rng.random() if rng.random() < _ODD_COLOUR_SHARE else rng.normal(kind.hue, 0.025)
    return _rgb(hue, rng.uniform(0.55, 0.85), rng.uniform(0.75, 1.0))


def _paint(canvas: Array, polygon: Array, colour: Array, light: Array) -> None:
    """Paint one bevelled shape and its shadow; `light` is the unit vector towards the light."""
    depth = 1 + 0.05 * float(np.ptp(polygon, axis=0).max())  # px
    size = np.array(canvas.shape[1::-1])
    low = np.maximum(np.floor(polygon.min(axis=0) - 4 * depth), 0).astype(int)
    high = np.minimum(np.ceil(polygon.max(axis=0) + 4 * depth), size).astype(int)
    cover = _coverage(polygon - low, *(high - low))
    shadow = Image.new("L", cover.size)
    shadow.paste(cover, tuple(np.round(-light * depth).astype(int).tolist()))
    patch = canvas[low[1] : high[1], low[0] : high[0]]
    patch *= 1 - 0.5 * _blurred(shadow, depth)[..., None]

    soft = _blurred(cover, depth)
    down, right = np.gradient(soft)
    bevel = -(right * light[0] + down * light[1]) * depth
    x = np.linspace(-1, 1, soft.shape[1], dtype=np.float32)
    y = np.linspace(-1, 1, soft.shape[0], dtype=np.float32)[:, None]
    shade = 0.75 + 0.25 * soft + 0.1 * (x * light[0] + y * light[1])
    surface = colour * shade[..., None] + 0.9 * bevel[..., None]
    alpha = np.asarray(cover, dtype=np.float32)[..., None] / 255
    patch += alpha * (surface - patch)


def _coverage(polygon: Array, width: int, height: int) -> Image.Image:
    """Return how much of each pixel the polygon covers, 0 to 255."""
    fine = Image.new("L", (int(width) * _SUPERSAMPLING, int(height) * _SUPERSAMPLING))
    # Pillow's whole numbers are the centres of pixels, COCO's their corners.
    ImageDraw.Draw(fine).polygon((polygon * _SUPERSAMPLING - 0.5).ravel().tolist(), fill=255)
    return fine.reduce(_SUPERSAMPLING)


def _blurred(image: Image.Image, radius: float) -> Array:
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255


def _background(rng: np.random.Generator, width: int, height: int) -> Array:
    hue, value = rng.random(), rng.uniform(0.25, 0.85)
    start = _rgb(hue, rng.uniform(0.05, 0.35), value)
    end = _rgb(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.05, 0.35), value + rng.uniform(-0.2, 0.15))
    blend = _ramp(rng, width, height) + 0.5 * _clouds(rng, width, height)
    canvas = start + np.clip(blend, 0, 1)[..., None] * (end - start)
    texture = _TEXTURES[rng.integers(len(_TEXTURES))](rng, width, height)
    return canvas * (1 + rng.uniform(0.06, 0.16) * texture)[..., None]


def _ramp(rng: np.random.Generator, width: int, height: int) -> Array:
    """Return a linear ramp of any direction, (height, width), 0 to 1."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.arange(width, dtype=np.float32) * math.cos(angle)
    y = np.arange(height, dtype=np.float32) * math.sin(angle)
    ramp = x + y[:, None]
    return (ramp - ramp.min()) / np.ptp(ramp)


# Textures: (height, width), about -1 to 1.


def _noise(rng: np.random.Generator, width: int, height: int, cell: int) -> Array:
    grid = rng.uniform(-1, 1, size=(height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _clouds(rng: np.random.Generator, width: int, height: int) -> Array:
    layers = [weight * _noise(rng, width, height, cell) for weight, cell in ((0.55, 96), (0.3, 40), (0.15, 16))]
    return np.sum(layers, axis=0)


def _stripes(rng: np.random.Generator, width: int, height: int) -> Array:
    waves = rng.uniform(6, 24) * _ramp(rng, width, height) + 0.4 * _noise(rng, width, height, 80)
    return np.sin(2 * np.pi * waves)


def _speckle(rng: np.random.Generator, width: int, height: int) -> Array:
    return 0.6 * _noise(rng, width, height, 3) + 0.4 * _noise(rng, width, height, 9)


def _bokeh(rng: np.random.Generator, width: int, height: int) -> Array:
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(12, 30)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 45)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(60, 220)))
    return 2 * _blurred(image, 9) - 0.5


_TEXTURES: tuple[Callable[[np.random.Generator, int, int], Array], ...] = (_clouds, _stripes, _speckle, _bokeh)
