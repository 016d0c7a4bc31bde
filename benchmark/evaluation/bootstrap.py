"""How sure an AP is: bootstrap intervals over images, and the paired comparison of two runs on the same images.

A resample draws as many images as the data set has, with replacement. hotcoco matches detections to objects once;
a resample only weighs each image by how often it was drawn. The intervals therefore cover the choice of images, not of
training seeds.

Intervals are basic bootstrap intervals: the resamples reflected about the figure (Davison and Hinkley, Bootstrap
Methods and their Application, 1997, section 2.4). AP's interpolation takes a maximum, so AP lies too high on few
objects, and a resample's AP higher still: percentile intervals move away from the truth, basic ones towards it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval
from pycocotools import mask as mask_codec

from backbones.errors import UserError
from benchmark.console import track_progress
from benchmark.data.annotations import check_ids, leave_out, read_annotations
from benchmark.evaluation.detections import as_results
from benchmark.records.figures import IouType

LEVEL = 95  # percent
# Figure -> area range of its objects, and which of the IoU thresholds 0.50, 0.55 .. 0.95 it averages.
FIGURES = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APs": ("small", slice(None)),
    "APm": ("medium", slice(None)),
    "APl": ("large", slice(None)),
}
AREAS = tuple(dict.fromkeys(area for area, _ in FIGURES.values()))
_RECALLS = np.linspace(0, 1, 101)
_MOST = 100  # detections of an image and a category that count
_CHUNK = 32  # resamples at once


@dataclass(frozen=True)
class Curve:
    """The detections of a category that count at one IoU threshold, best score first, up to the last true positive.

    Attributes:
        images: index of each detection's image.
        hits: places of the true positives in ``images``.
    """

    images: np.ndarray
    hits: np.ndarray


@dataclass(frozen=True)
class Category:
    """A category within an area range: the image index of each object to find, and a curve an IoU threshold."""

    objects: np.ndarray
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Matches:
    """Detections matched to a data set's objects.

    Attributes:
        image_ids: ids of all images; image indices and weights follow this order.
        areas: the categories by area range (``all``, ``small``, ``medium``, ``large``).
    """

    image_ids: tuple[int, ...]
    areas: dict[str, tuple[Category, ...]]


@dataclass(frozen=True)
class _Found:
    """Detections in arrays (N,): the index of each one's image, its category's id, score, and area in pixels."""

    images: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class _Outcomes:
    """What became of detections within an area range.

    Attributes:
        matched: (thresholds, N) of bool.
        ignored: likewise, those that neither count as found nor as false.
        objects: category's id -> the image's id of each object to find.
    """

    matched: np.ndarray
    ignored: np.ndarray
    objects: dict[int, list[int]]


@dataclass(frozen=True)
class Difference:
    """A figure of run A minus that of run B, in percent.

    Attributes:
        a: figure of A.
        b: figure of B.
        difference: a - b.
        interval: 95% bootstrap interval of the difference, over images.
        probability: share of the reflected resamples in which A is ahead, ties counted half.
    """

    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    probability: float

    @property
    def decision(self) -> str:
        """``A is better`` or ``B is better`` where the interval excludes 0, else ``not decided``."""
        low, high = self.interval
        return "A is better" if low > 0 else "B is better" if high < 0 else "not decided"


def match(
    annotations: Path,
    detections: Sequence[Mapping[str, Any]],
    iou_type: IouType = "bbox",
    *,
    left_out: Collection[int] = (),
    areas: Collection[str] = AREAS,
) -> Matches:
    """Match detections to objects as pycocotools does.

    Args:
        annotations: a COCO annotation file.
        detections: in COCO's results format, with ``bbox`` or ``segmentation`` (run lengths). As on COCO's server, the
            area of a detected mask is the mask's own.
        iou_type: ``bbox`` or ``segm``.
        left_out: ids of images that were not evaluated.
        areas: the ranges of areas to match in.

    Raises:
        UserError: a detection on an image, or of a category, that the annotations do not have.
    """
    content = leave_out(read_annotations(annotations), left_out)
    check_ids(annotations, content, detections)
    image_ids = np.array(sorted(image["id"] for image in content["images"]))
    found = _Found(
        images=np.searchsorted(image_ids, [detection["image_id"] for detection in detections]),
        categories=np.array([detection["category_id"] for detection in detections]),
        scores=np.array([detection["score"] for detection in detections], dtype=float),
        areas=_areas(detections, iou_type),
    )
    ids = sorted({category["id"] for category in content["categories"]})
    matched = {
        name: _match_area(found, outcomes, image_ids, ids)
        for name, outcomes in _outcomes(content, detections, found, iou_type, areas).items()
    }
    return Matches(tuple(image_ids.tolist()), matched)


def average_precision(matches: Matches, weights: np.ndarray | None = None) -> dict[str, float | None]:
    """Return the figures of ``FIGURES`` in percent, None where there is no object to find.

    Args:
        matches: of a run.
        weights: (images,) integers, how often each image counts; once each by default.
    """
    if weights is None:
        weights = np.ones(len(matches.image_ids))
    figures = _weighted_figures(matches, weights[None].astype(np.int32))
    return {name: None if np.isnan(value) else float(value) for name, (value,) in figures.items()}


def resample(matches: Matches, resamples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the figures, in percent, of so many draws of the images with replacement: (resamples,) arrays.

    The same seed draws the same images. A draw without any object to find is NaN.

    Raises:
        UserError: fewer than one resample.
    """
    if resamples < 1:
        raise UserError(f"A bootstrap takes a number of resamples from 1, found {resamples}; 1000 is usual.")
    draws = track_progress(draw_images(len(matches.image_ids), resamples, seed), "resampling", -(-resamples // _CHUNK))
    chunks = [_weighted_figures(matches, weights) for weights in draws]
    return {name: np.concatenate([figures[name] for figures in chunks]) for name in FIGURES}


def draw_images(images: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield how often each image is drawn, some resamples at a time: (some, images) int32.

    The same number of images and the same seed give the same draws.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        yield generator.multinomial(images, np.full(images, 1 / images), size=size).astype(np.int32)


def class_precisions(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """Return AP by category, over objects of all areas, in percent: (categories, B), NaN where no object is drawn.

    Their mean over the categories that have one is AP.

    Args:
        matches: of a run.
        weights: (B, images) integers, how often each image counts.
    """
    weights = weights.astype(np.int32)
    # Every IoU threshold has the same objects, so the mean over (categories, thresholds) is one of means.
    return 100 * np.stack([_category_ap(category, weights).mean(axis=0) for category in matches.areas["all"]])


def bootstrap(matches: Matches, resamples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float] | None]:
    """Return the 95% interval over images of each figure in percent; None where the figure is None."""
    samples = resample(matches, resamples, seed)
    return {
        name: None if figure is None else _interval(np.clip(2 * figure - samples[name], 0, 100))
        for name, figure in average_precision(matches).items()
    }


def paired_difference(a: Matches, b: Matches, resamples: int = 1000, seed: int = 0) -> dict[str, Difference | None]:
    """Compare two runs on the same images, drawn together; None where a figure is None.

    Raises:
        UserError: the runs are on different images.
    """
    if a.image_ids != b.image_ids:
        raise UserError(
            f"The runs are on different images ({len(a.image_ids)} and {len(b.image_ids)}): only runs on the same "
            "annotations can be compared image by image."
        )
    figures_a, figures_b = average_precision(a), average_precision(b)
    samples_a, samples_b = resample(a, resamples, seed), resample(b, resamples, seed)
    return {name: _difference(figures_a[name], figures_b[name], samples_a[name], samples_b[name]) for name in FIGURES}


def _difference(a: float | None, b: float | None, a_samples: np.ndarray, b_samples: np.ndarray) -> Difference | None:
    if a is None or b is None:
        return None
    differences = 2 * (a - b) - (a_samples - b_samples)
    probability = float(np.nanmean((np.sign(differences) + 1) / 2))
    return Difference(a, b, a - b, _interval(differences), probability)


def _interval(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(samples, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def _weighted_figures(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Map weights (B, images) to figures (B,) in percent, NaN where nothing is to be found."""
    precisions = {
        area: np.stack([_category_ap(category, weights) for category in categories])  # (classes, thresholds, B)
        for area, categories in matches.areas.items()
    }
    return {name: 100 * _nanmean(precisions[area][:, chosen]) for name, (area, chosen) in FIGURES.items()}


def _nanmean(values: np.ndarray) -> np.ndarray:
    valid = ~np.isnan(values)
    count = valid.sum(axis=(0, 1))
    return np.where(count > 0, np.where(valid, values, 0).sum(axis=(0, 1)) / np.maximum(count, 1), np.nan)


def _category_ap(category: Category, weights: np.ndarray) -> np.ndarray:
    """Map weights (B, images) to average precision (thresholds, B), NaN where the draw has no object."""
    objects = weights.take(category.objects, axis=1).sum(axis=1)  # (B,)
    precision = [_interpolated_ap(curve, weights, np.maximum(objects, 1)) for curve in category.curves]
    return np.where(objects > 0, precision, np.nan)


def _interpolated_ap(curve: Curve, weights: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the mean over 101 recalls of the best precision at that recall or beyond: (B,).

    Only true positives matter: precision falls between them.
    """
    if not curve.hits.size:
        return np.zeros(len(weights))
    detections = weights.take(curve.images, axis=1)  # (B, detections)
    np.cumsum(detections, axis=1, out=detections)
    found = weights.take(curve.images[curve.hits], axis=1).cumsum(axis=1)  # (B, hits)
    precision = found / np.maximum(detections.take(curve.hits, axis=1), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(_RECALLS, found / objects[:, None], side="right")
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(_RECALLS)


def _areas(detections: Sequence[Mapping[str, Any]], iou_type: IouType) -> np.ndarray:
    """Return the area of each detection in pixels: (N,)."""
    if iou_type == "segm":
        return np.array([mask_codec.area(detection["segmentation"]) for detection in detections], dtype=float)
    sides = np.array([detection["bbox"][2:] for detection in detections], dtype=float).reshape(-1, 2)
    return sides.prod(axis=1)


def _outcomes(
    content: dict[str, Any],
    detections: Sequence[Mapping[str, Any]],
    found: _Found,
    iou_type: IouType,
    areas: Collection[str],
) -> dict[str, _Outcomes]:
    """Match all detections, once an area range.

    Where a category has no object on an image there is nothing to match; most pairs of image and category are so.
    """
    occupied = {(each["image_id"], each["category_id"]) for each in content["annotations"]}
    rivals = [i for i, each in enumerate(detections) if (each["image_id"], each["category_id"]) in occupied]
    truth = COCO(content)
    results = truth.load_res(as_results([detections[i] for i in rivals], iou_type))
    evaluation = COCOeval(truth, results, iou_type)
    params = evaluation.params
    ranges = dict(zip(params.area_rng_lbl, params.area_rng, strict=True))
    params.area_rng, params.area_rng_lbl = [ranges[name] for name in areas], [*areas]
    evaluation.params = params
    evaluation.evaluate()
    pairs: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for pair in filter(None, evaluation.eval_imgs):
        pairs.setdefault(tuple(pair["aRng"]), []).append(pair)
    params, outcomes = evaluation.params, {}
    for name, (low, high) in zip(params.area_rng_lbl, params.area_rng, strict=True):
        own = pairs.get((low, high), [])
        matched = np.zeros((len(params.iou_thrs), len(detections)), dtype=bool)
        ignored = np.tile((found.areas < low) | (found.areas > high), (len(params.iou_thrs), 1))
        columns = np.array(rivals, dtype=int)[[number - 1 for pair in own for number in pair["dtIds"]]]
        if columns.size:
            matched[:, columns] = np.concatenate([pair["dtMatched"] for pair in own], axis=1)
            ignored[:, columns] = np.concatenate([pair["dtIgnore"] for pair in own], axis=1)
        objects: dict[int, list[int]] = {}
        for pair in own:
            objects.setdefault(pair["category_id"], []).extend([pair["image_id"]] * pair["gtIgnore"].count(False))
        outcomes[name] = _Outcomes(matched, ignored, objects)
    return outcomes


def _match_area(found: _Found, outcomes: _Outcomes, image_ids: np.ndarray, ids: Sequence[int]) -> tuple[Category, ...]:
    """Return the categories of these ids within an area range."""
    categories = []
    for number in ids:
        own = np.flatnonzero(found.categories == number)
        # Stable, as pycocotools sorts: the best score first, then by image.
        ranked = own[np.lexsort((found.images[own], -found.scores[own]))]
        ranked = ranked[_first_of_each(found.images[ranked], _MOST)]
        masks = zip(outcomes.matched[:, ranked], outcomes.ignored[:, ranked], strict=True)
        curves = tuple(_curve(found.images[ranked], *pair) for pair in masks)
        categories.append(Category(np.searchsorted(image_ids, outcomes.objects.get(number, [])), curves))
    return tuple(categories)


def _curve(images: np.ndarray, found: np.ndarray, ignored: np.ndarray) -> Curve:
    hits = np.flatnonzero(found[~ignored])
    return Curve(images[~ignored][: hits[-1] + 1 if hits.size else 0], hits)


def _first_of_each(images: np.ndarray, limit: int) -> np.ndarray:
    """Return a mask of the first ``limit`` entries of every image."""
    order = np.argsort(images, kind="stable")
    grouped = images[order]
    mask = np.empty(len(images), dtype=bool)
    mask[order] = np.arange(len(images)) - np.searchsorted(grouped, grouped) < limit
    return mask
