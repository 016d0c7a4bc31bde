"""From a config and its checkpoint to what is exported, and the pictures that it is checked on."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import BaseModel

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.cli import Options
from benchmark.config.load import config_name, load_options
from benchmark.data.decode import UnreadableImageError
from benchmark.files.checkpoints import resolve_checkpoint
from benchmark.files.run_folder import RESULT, WEIGHTS, checkpoint_path, evaluation_folder
from benchmark.inference.export.classifier import NormalisedClassifier
from benchmark.inference.export.exportable import Exportable
from benchmark.inference.export.preparation import Preparation
from benchmark.inference.export.single_stage import DecodedSSDLite
from benchmark.inference.export.two_stage import DecodedMaskRCNN, DecodedTwoStage
from benchmark.inference.predict import Pictures, Unreadable, category_ids, load_detector
from benchmark.inference.sources import find_pictures
from benchmark.records.result import Result, read_result
from benchmark.tasks import TASKS, Ability

if TYPE_CHECKING:
    from benchmark.data.finegrained import Split

CHECKED = 8  # validation pictures
_STRIDE = 32  # px, of the coarsest map that the canvas must be a multiple of
_LONGEST = 4096  # px, side of a canvas


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        cfg: its config.
        original: the model on the CPU.
        pictures: to check on.
        figures: what its weights reached in PyTorch, see ``figures_of``.
    """

    cfg: Config
    original: Exportable
    pictures: "Pictures | Crops"
    figures: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fused(self) -> Exportable:
        """The model with its branches merged, which files are made of."""
        return self.original.fused()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a file's user must know."""
        return {
            "config": config_name(self.cfg),
            "backbone": self.cfg.model.backbone.name,
            "kind": self.original.kind,
            "classes": list(class_names(self.cfg)),
            **({"category_ids": category_ids(self.cfg)} if TASKS[self.cfg.task].kind == "detector" else {}),
            "inputs": {name: list(value.shape) for name, value in self.original.example.items()},
            "outputs": list(self.original.outputs),
            **self.original.facts(),
            **({"figures": self.figures} if self.figures else {}),
        }

    @cached_property
    def checks(self) -> list[tuple[dict[str, Any], Any]]:
        """Each picture's inputs by name, and what the original finds in it.

        Raises:
            UserError: a picture that cannot be read.
        """
        return [(self.original.inputs(sample), self.original.reference(sample)) for sample in readable(self.pictures)]


def readable(pictures: "Pictures | Crops") -> Iterator[dict[str, Any]]:
    """Yield the samples of pictures.

    Raises:
        UserError: one cannot be read.
    """
    for index in range(len(pictures)):
        sample = pictures[index]
        if isinstance(sample, Unreadable):
            raise UserError(f"{sample.path} cannot be read to check the export on: {sample.reason}.")
        yield sample


class Crops(Sequence[Any]):
    """Pictures as a classifier's evaluation prepares them.

    Args:
        paths: the files.
        pipeline: configs of the evaluation's transforms.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Sequence[dict]) -> None:
        self.paths, self._transform = paths, Compose(pipeline)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        """Return ``inputs`` (3, H, W) uint8 RGB and ``data_samples``, or what is wrong with the picture."""
        path = self.paths[index]
        try:
            return self._transform({"img_path": str(path), "sample_idx": index, "gt_label": -1})
        except UnreadableImageError as error:
            return Unreadable(path, str(error.__cause__ or error))


def read_config(options: Options) -> Config:
    """Read the config of a model that can be exported.

    Raises:
        UserError: as ``load_options``, or a task that cannot be exported.
    """
    cfg = load_options(options)
    if Ability.EXPORT not in TASKS[cfg.task].can:
        known = ", ".join(f"{task.title}'s" for task in TASKS.values() if Ability.EXPORT in task.can)
        raise UserError(
            f"Exporting a {cfg.task} model is not supported, only {known}; {options.config} is a {cfg.task} config."
        )
    if cfg.model.type not in _KINDS:
        raise UserError(
            f"model.type={cfg.model.type!r} cannot be exported, only {', '.join(_KINDS)}: leave it as it is."
        )
    return cfg


def kind_of(cfg: Config) -> str:
    """Return which kind of exportable model a config of ``read_config`` has."""
    return _EXPORTABLES[cfg.model.type].kind


def prepare(
    cfg: Config,
    checkpoint: Path,
    pictures: Path | None = None,
    canvas: tuple[int, int] | None = None,
    batch: int = 1,
) -> Source:
    """Load what is exported.

    Args:
        cfg: of ``read_config``.
        checkpoint: a .pth file of a run.
        pictures: a picture or a folder to check on; default the first 8 of the config's validation pictures.
        canvas: (height, width) in pixels of a two-stage detector's input, which pictures are resized into; default the
            size that the config's pictures in landscape have, rounded up.
        batch: how many pictures it is to take at once.

    Raises:
        UserError: no pictures, a canvas or a batch that the model does not take, or a checkpoint that does not fit.
    """
    if canvas:
        _check_canvas(cfg, canvas)
    if batch > 1 and cfg.model.type in _TWO_STAGE:
        raise UserError("--batch is for SSDLite and classifiers: a two-stage detector's file takes one picture.")
    paths = find_pictures(pictures) if pictures else validation_pictures(cfg)[:CHECKED]
    model = load_detector(cfg, checkpoint)
    source = _KINDS[cfg.model.type](cfg, model, paths, canvas)
    source.original.batch = batch
    return dataclasses.replace(source, figures=figures_of(checkpoint, cfg.task))


def figures_of(checkpoint: Path, task: str) -> dict[str, Any]:
    """Return what the results beside a checkpoint say of it: data, split, images, figures and their 95% intervals.

    Raises:
        UserError: a result that cannot be read.
    """
    file = resolve_checkpoint(checkpoint)
    for path in (evaluation_folder(file) / RESULT, file.parent / RESULT):
        if path.is_file() and _is_of(result := read_result(path), file):
            known = {name: value for name in TASKS[task].figures if (value := result.metrics.get(name)) is not None}
            intervals = {name: ends for name, ends in result.intervals.items() if name in known}
            data = result.data
            return {"data": data.name, "split": data.split, "images": data.images, **known, "intervals": intervals}
    return {}


def _is_of(result: Result, checkpoint: Path) -> bool:
    """Tell whether a result is of a checkpoint's weights."""
    if result.checkpoint:
        return result.checkpoint.sha256 == file_sha256(checkpoint)
    last = result.training and checkpoint_path(checkpoint.parent, result.training.iterations).name
    return checkpoint.name in (WEIGHTS, last)


def validation_pictures(cfg: Config) -> list[Path]:
    """Return the config's validation pictures.

    Raises:
        UserError: they are not there.
    """
    dataset = cfg.val_dataloader.dataset
    if TASKS[cfg.task].kind == "classifier":
        return [Path(path) for path, _ in _read_split(dataset).samples]
    folder = Path(dataset.data_root) / dataset.data_prefix.img
    if not folder.is_dir():
        raise UserError(
            f"No pictures to check the export on: {folder.absolute()} is absent. Give --pictures with a picture or "
            "folder of your own, or --data-root."
        )
    return find_pictures(folder)


def class_names(cfg: Config) -> Sequence[str]:
    """Return the names of a config's classes; a classifier's are its data's, and none where those are absent."""
    dataset = cfg.val_dataloader.dataset
    if TASKS[cfg.task].kind == "detector":
        return dataset.metainfo.classes
    try:
        return _read_split(dataset).classes
    except UserError:
        return ()


def _read_split(dataset: Mapping[str, Any]) -> "Split":
    from benchmark.data.finegrained import read_split

    return read_split(dataset["name"], Path(dataset["data_root"]), dataset["split"], allow_partial=True)


def _check_canvas(cfg: Config, canvas: tuple[int, int]) -> None:
    if cfg.model.type not in _TWO_STAGE:
        raise UserError(
            f"--canvas is for two-stage detectors; the input of a {cfg.task} model is its config's: "
            "--cfg-options changes it."
        )
    for side in canvas:
        if side % _STRIDE or not _STRIDE <= side <= _LONGEST:
            raise UserError(
                f"--canvas takes height and width, multiples of {_STRIDE} in {_STRIDE}..{_LONGEST}, found "
                f"{canvas[0]} {canvas[1]}."
            )


def _ssdlite(cfg: Config, model: BaseModel, paths: Sequence[Path], canvas: tuple[int, int] | None) -> Source:
    pipeline = cfg.val_dataloader.dataset.pipeline
    width, height = next(step.scale for step in pipeline if step.type == "Resize")
    return Source(cfg, DecodedSSDLite(model, (height, width)).eval(), Pictures(paths, pipeline))


def _two_stage(cfg: Config, model: BaseModel, paths: Sequence[Path], canvas: tuple[int, int] | None) -> Source:
    pipeline = cfg.val_dataloader.dataset.pipeline
    longest, shortest = next(step.scale for step in pipeline if step.type == "Resize")
    size = canvas or (-(-shortest // _STRIDE) * _STRIDE, -(-longest // _STRIDE) * _STRIDE)
    # No more of the canvas is filled than the config's own pictures in landscape fill.
    filled = (size[1], size[0]) if canvas else (longest, shortest)
    into = {"type": "ResizeInto", "size": filled}
    steps = [into if step.type == "Resize" else step for step in pipeline]
    kind = _TWO_STAGE[cfg.model.type]
    return Source(cfg, kind(model, size, filled[::-1]).eval(), Pictures(paths, steps))


def _classifier(cfg: Config, model: BaseModel, paths: Sequence[Path], canvas: tuple[int, int] | None) -> Source:
    pipeline = cfg.val_dataloader.dataset.pipeline
    crop = next(step for step in pipeline if step.type == "DecodeCenterCrop")
    squash = bool(crop.get("squash"))
    preparation = Preparation("crop", crop.size, crop.size, crop.resize, crop.interpolation, squash)
    return Source(cfg, NormalisedClassifier(model, preparation).eval(), Crops(paths, pipeline))


# Type of a config's model -> how it is prepared.
_TWO_STAGE = {"FasterRCNNFPN": DecodedTwoStage, "MaskRCNNFPN": DecodedMaskRCNN}
_EXPORTABLES: dict[str, type[Exportable]] = {
    "SSDLite": DecodedSSDLite,
    **_TWO_STAGE,
    "FineGrainedClassifier": NormalisedClassifier,
}
_KINDS: dict[str, Callable[..., Source]] = {
    "SSDLite": _ssdlite,
    **dict.fromkeys(_TWO_STAGE, _two_stage),
    "FineGrainedClassifier": _classifier,
}
