"""A detector in an exported file, with all that must be known of it in the file itself."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from backbones.errors import UserError
from benchmark.inference.export.exportable import call_batch
from benchmark.inference.export.formats import find_row
from benchmark.inference.export.pictured import picture_of
from benchmark.inference.export.single_stage import answer_with_anchors, image_of
from benchmark.inference.export.two_stage import answer_with_detections, on_canvas
from benchmark.records.schema import first_problem
from benchmark.training.registration import register

_META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


class _Nms(BaseModel):
    iou_threshold: float = Field(ge=0, le=1)


class _TestConfig(BaseModel):
    score_thr: float
    nms: _Nms
    max_per_img: int = Field(ge=1)
    min_bbox_size: float = -1


class _Preparation(BaseModel):
    how: Literal["stretch", "fit", "inside"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)


class _Facts(BaseModel):
    """What a detector's file says of itself, as far as is needed here; see ``Source.facts``."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["SSDLite", "Faster R-CNN", "Mask R-CNN"]
    classes: tuple[str, ...] = Field(min_length=1)
    category_ids: tuple[int, ...]
    input_height: int = Field(ge=1)
    input_width: int = Field(ge=1)
    preparation: _Preparation
    inputs: dict[str, tuple[int, ...]]
    test_cfg: _TestConfig
    mask_threshold: float | None = None


class ExportedDetector:
    """A detector of an exported file.

    Args:
        path: the file.
        threads: of the CPU; None for the runtime's choice.

    Attributes:
        names: class name by COCO category id, in the labels' order.
        pipeline: configs of the transforms that prepare a picture.
        has_masks: whether it finds masks.
        batch: pictures that it takes at once.

    Raises:
        UserError: no such file, one that says not what it is, or one that cannot be run here.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        row = find_row(path)
        if not path.exists():
            raise UserError(f"No such exported file: {path}.")
        if row.unchecked:
            raise UserError(f"{path} cannot be run here: {row.unchecked}.")
        row.check_installed(to_run=True)
        module = row.load_module()
        self._facts = _read(path, module.facts(path))
        self._run = module.load(path, threads)
        register()  # the transforms
        self.names = dict(zip(self._facts.category_ids, self._facts.classes, strict=True))
        how = self._facts.preparation
        self.pipeline = [*_STEPS[how.how](how.width, how.height), {"type": "PackSample", "meta_keys": _META}]
        self.batch = 1 if how.how == "inside" else self._facts.inputs["image"][0]
        self.has_masks = self._facts.mask_threshold is not None
        self._inputs, self._answer = _KINDS[self._facts.kind](self._facts)
        if how.how == "inside":
            self._inputs = picture_of

    def find(self, prepared: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return MMDetection's samples of prepared pictures, ``batch`` at most, filled with what was found."""
        found = call_batch(self._run, [self._inputs(each) for each in prepared], self.batch)
        return [self._answer(own, each["data_samples"]) for own, each in zip(found, prepared, strict=True)]


def _read(path: Path, facts: Mapping[str, Any]) -> _Facts:
    if facts.get("kind") == "classifier":
        raise UserError(f"{path} holds a classifier, and only detectors find boxes or masks in pictures.")
    try:
        found = _Facts.model_validate(facts)
    except ValidationError as error:
        raise UserError(
            f"{path} does not say how it is used ({first_problem(error)}): export it again with tools/export.py, or "
            "give CONFIG and CHECKPOINT."
        ) from error
    if len(found.classes) != len(found.category_ids):
        raise UserError(f"{path} names {len(found.classes)} classes and {len(found.category_ids)} category ids.")
    if found.preparation.how != "inside" and len(found.inputs.get("image", ())) != 4:
        raise UserError(f"{path} does not say the shape of its input image: export it again with tools/export.py.")
    return found


def _one_stage(facts: _Facts) -> tuple[Callable[..., dict[str, Tensor]], Callable[..., Any]]:
    return image_of, partial(answer_with_anchors, test_cfg=facts.test_cfg.model_dump())


def _two_stage(facts: _Facts) -> tuple[Callable[..., dict[str, Tensor]], Callable[..., Any]]:
    canvas = (facts.input_height, facts.input_width)
    return partial(on_canvas, canvas=canvas), partial(answer_with_detections, mask_threshold=facts.mask_threshold)


# Kind of detector -> what makes its inputs of a sample, and what reads its outputs.
_KINDS = {"SSDLite": _one_stage, "Faster R-CNN": _two_stage, "Mask R-CNN": _two_stage}
# How a picture gets the input's size -> the transforms, of width and height in pixels.
_STEPS: Mapping[str, Callable[[int, int], list[dict[str, Any]]]] = {
    "stretch": lambda width, height: [{"type": "Resize", "scale": (width, height), "keep_ratio": False}],
    "fit": lambda width, height: [{"type": "ResizeInto", "size": (width, height)}],
    "inside": lambda width, height: [],
}
