"""Two runs on the same images: which one do the data support?"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import FailFast, Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from backbones.errors import UserError
from backbones.tensors import file_sha256
from benchmark.config.load import load_config
from benchmark.console import listed
from benchmark.data.annotations import read_annotations
from benchmark.evaluation.bootstrap import AREAS, Difference, Matches, match, paired_difference
from benchmark.files.run_folder import CONFIG, DETECTIONS, RESULT
from benchmark.records.figures import IOU_TYPES, IouType
from benchmark.records.result import read_result
from benchmark.records.runs import Run
from benchmark.records.schema import first_problem
from benchmark.tasks import TASKS

# What the figure of a result may differ from the one recounted from the detections beside it, in percent.
_TOLERANCE = 0.01
NOTE = (
    "95% intervals by paired bootstrap over images: they cover the choice of images, not of training seeds. "
    "Another seed of the same config can move AP as well."
)


class _RunLengths(TypedDict):
    size: tuple[int, int]
    counts: str


class Detection(TypedDict):
    """A detection in COCO's results format."""

    image_id: int
    category_id: int
    score: FiniteFloat
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    segmentation: NotRequired[_RunLengths]


_DETECTIONS = TypeAdapter(Annotated[list[Detection], FailFast()])


def compare_runs(
    a: Path, b: Path, *, annotations: Path | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Difference | None]:
    """Compare two detectors' runs image by image.

    Args:
        a: folder of run A, or its result.json; ``detections.json`` lies beside it.
        b: likewise of run B.
        annotations: the COCO annotation file; found through the config in A's folder by default.
        resamples: draws of the images.
        seed: of the draws.

    Returns:
        The difference by figure (``box_AP`` ..., and ``mask_AP`` ... where both have masks).

    Raises:
        UserError: not the same data, no detections, or files that do not belong together.
    """
    runs = [read_run(path) for path in (a, b)]
    check_same_data(*runs)
    annotations = find_annotations(runs[0], annotations)
    figures = [[prefix for prefix in IOU_TYPES if f"{prefix}_AP" in run.result.metrics] for run in runs]
    shared = [prefix for prefix in figures[0] if prefix in figures[1]]
    if not shared:
        raise UserError(f"{a} and {b} share no AP to compare: only runs of detectors can be.")
    detections = [read_detections(run) for run in runs]
    differences: dict[str, Difference | None] = {}
    for prefix in shared:
        ours, theirs = (
            match_run(run, annotations, found, IOU_TYPES[prefix]) for run, found in zip(runs, detections, strict=True)
        )
        compared = paired_difference(ours, theirs, resamples=resamples, seed=seed)
        if compared["AP"] is not None:
            for run, figure in zip(runs, (compared["AP"].a, compared["AP"].b), strict=True):
                check_recount(run, f"{prefix}_AP", figure)
        differences |= {f"{prefix}_{name}": difference for name, difference in compared.items()}
    return differences


def match_folder(path: Path, iou_type: IouType) -> Matches:
    """Return a run's detections matched to the objects that its config names.

    Args:
        path: folder of the run, or its result.json.
        iou_type: ``bbox`` or ``segm``.

    Raises:
        UserError: no detections, no annotations, or files that do not belong together.
    """
    run = read_run(path)
    return match_run(run, find_annotations(run), read_detections(run), iou_type)


def training_notes(a: Path, b: Path) -> list[str]:
    """Return what two runs were trained on, where it is a part of the pictures or a different number of them."""
    trainings = [read_run(path).result.training for path in (a, b)]
    parts = [training.part if training else "unknown images" for training in trainings]
    whole = all(training is None or training.subset_of is None for training in trainings)
    return [] if whole else [f"A was trained on {parts[0]}, B on {parts[1]}."]


def comparison_rows(differences: dict[str, Difference | None]) -> list[dict[str, str]]:
    """Return one printable row per figure."""
    return [
        {
            "figure": name,
            "A": f"{difference.a:.2f}",
            "B": f"{difference.b:.2f}",
            "A - B": f"{difference.difference:+.2f}",
            "95% interval": f"{difference.interval[0]:+.2f} to {difference.interval[1]:+.2f}",
            "A ahead": f"{difference.probability:.1%}",
            "the data say": difference.decision,
        }
        for name, difference in differences.items()
        if difference is not None
    ]


def read_run(path: Path) -> Run:
    """Return a run by its folder or its result.json.

    Raises:
        UserError: no result there.
    """
    file = path / RESULT if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"Result not found: {file}. Give a run's folder or its {RESULT}.")
    return Run(file.parent, read_result(file))


def check_same_data(a: Run, b: Run) -> None:
    """Refuse two runs that were not evaluated on the same pictures.

    Raises:
        UserError: other annotations, or other pictures left out.
    """
    if a.result.data.annotations_sha256 != b.result.data.annotations_sha256:
        named = [
            f"{run.folder} on {run.result.data.name} {run.result.data.split}, {run.result.data.images} images"
            for run in (a, b)
        ]
        raise UserError(f"The runs are not on the same data: {'; '.join(named)} (the annotations' SHA-256 differ).")
    if set(a.result.data.unreadable) != set(b.result.data.unreadable):
        named = [f"{run.folder} without {listed(run.result.data.unreadable) or 'none'}" for run in (a, b)]
        raise UserError(
            f"The runs were evaluated on different pictures: {'; '.join(named)} (unreadable then). Restore them and "
            "evaluate again."
        )


def find_annotations(run: Run, given: Path | None = None) -> Path:
    """Return the annotation file that a run was evaluated on: a given one, or what its config names.

    Raises:
        UserError: it is not there, or is another file.
    """
    annotations = given or _named_annotations(run)
    if not annotations.is_file():
        raise UserError(f"Annotation file not found: {annotations}. Give --annotations FILE.")
    if file_sha256(annotations) != run.result.data.annotations_sha256:
        raise UserError(
            f"{annotations} is not the file that {run.folder} was evaluated on (its SHA-256 differs): give "
            "--annotations."
        )
    return annotations


def _named_annotations(run: Run) -> Path:
    config = run.folder / CONFIG
    if not config.is_file():
        raise UserError(f"{run.folder} holds no {CONFIG} that names the annotations: give --annotations FILE.")
    annotations = Path(load_config(config).val_evaluator.get("ann_file", ""))
    if not annotations.is_file():
        raise UserError(f"The annotations of {config} are not at {annotations}: give --annotations FILE.")
    return annotations


def left_out(run: Run, images: Iterable[Mapping[str, Any]]) -> set[int]:
    """Return the ids of the images that a run could not read, of those of its annotations."""
    unreadable = set(run.result.data.unreadable)
    return {image["id"] for image in images if image["file_name"] in unreadable} if unreadable else set()


def read_detections(run: Run) -> list[Detection]:
    """Return what a run's figures were counted from.

    Raises:
        UserError: it is not there, or is no list of detections.
    """
    path = run.folder / DETECTIONS
    if not path.is_file():
        tool = TASKS[run.result.task].tool
        raise UserError(f"Detections not found: {path}. Evaluate the run's checkpoint with tools/{tool} to write them.")
    try:
        return _DETECTIONS.validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(f"{path} is no list of detections in COCO's results format: {first_problem(error)}.") from error


def match_run(
    run: Run, annotations: Path, detections: list[Detection], iou_type: IouType, areas: Collection[str] = AREAS
) -> Matches:
    """Match a run's detections to the objects of the pictures that it was evaluated on; see ``match``.

    Raises:
        UserError: detections of another data set.
    """
    missing = left_out(run, read_annotations(annotations)["images"]) if run.result.data.unreadable else set()
    try:
        return match(annotations, detections, iou_type, left_out=missing, areas=areas)
    except UserError as error:
        raise UserError(f"{run.folder / DETECTIONS}: {error}") from error


def check_recount(run: Run, figure: str, recounted: float | None) -> None:
    """Check that a figure counted anew, in percent, is the one of the run's result; None where there are no objects.

    Raises:
        UserError: it is another.
    """
    recorded = run.result.metrics[figure]
    if recounted is not None and (recorded is None or abs(recorded - recounted) > _TOLERANCE):
        name = " ".join(figure.split("_"))
        raise UserError(
            f"{run.folder / DETECTIONS} does not belong to the {RESULT} beside it: {name} {recounted:.2f} from the "
            f"detections, {recorded} in the result. Evaluate again."
        )
