"""Evaluating a checkpoint: what the evaluation tools call."""

import contextlib
from pathlib import Path

from benchmark.cli import Options
from benchmark.config.load import config_name
from benchmark.files.atomic import check_file, make_folder
from benchmark.files.run_folder import RESULT
from benchmark.records.figures import format_figures
from benchmark.records.result import Result, TrainingRecord, format_per_class, read_result
from benchmark.tasks import TASKS
from benchmark.training.plan import Plan, ownership, plan_evaluation

# How a file of what the figures were counted from begins: detections, or a confusion matrix.
_BEGINS = {"detector": "[", "classifier": "true class,"}


def evaluate(
    options: Options,
    checkpoint: Path | None,
    *,
    tool: str,
    pretrained: str | None = None,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
    bootstrap: int = 0,
) -> Result:
    """Evaluate a checkpoint on its config's validation split and write a ``result.json`` that names it.

    Pretrained weights with their classifier may stand in for the checkpoint.

    Args:
        options: what to run, and how; without a work_dir the result goes into ``eval_<checkpoint>`` beside the
            checkpoint, for it never replaces that of the training.
        checkpoint: of a run, see ``benchmark.files.checkpoints.resolve_checkpoint``, or None.
        tool: the calling tool; a config that another tool is for is refused.
        pretrained: weights of the backbone in place of a checkpoint: ``imagenet`` or a file.
        out: file for what the figures were counted from: detections in COCO's results format, or the confusion matrix.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.
        bootstrap: resamples of the images for 95% intervals; 0 leaves them out.

    Raises:
        UserError: whatever the user can fix.
    """
    if out:
        check_file(out, begins=next(_BEGINS[task.kind] for task in TASKS.values() if task.tool == tool))
    plan = plan_evaluation(options, checkpoint, tool=tool, pretrained=pretrained)
    from benchmark.models.precision import autocast
    from benchmark.training.outcome import finish
    from benchmark.training.runner import BenchmarkRunner

    if out:
        make_folder(out.parent)
    with ownership(plan), contextlib.closing(BenchmarkRunner.from_plan(plan)) as runner:
        if checkpoint:
            runner.load_or_resume()
        else:
            runner.load_pretrained()
        with autocast(plan.precision):
            runner.val()
        return finish(
            runner,
            plan,
            _training_of(plan.checkpoint, plan) if plan.checkpoint else None,
            precision=plan.precision,
            out=out,
            pictures=pictures,
            per_class=per_class,
            bootstrap=bootstrap,
        )


def format_classifier(result: Result, *, per_class: bool = False, worst: int = 0) -> str:
    """Return what an evaluation of a classifier prints.

    Args:
        result: of the evaluation.
        per_class: with the accuracy of every class.
        worst: with so many of the classes with the lowest accuracy.
    """
    from benchmark.evaluation.accuracy import worst_classes

    lines = [format_per_class(result)] if per_class else []
    for name, value in worst_classes(result.per_class.get("top1", {}), worst).items():
        lines.append(f"worst {name:>20}  {value:.1f}")
    partial = " of a part of the data set" if result.data.partial else ""
    lines.append(f"{format_figures(result.metrics, result.intervals)}  images {result.data.images}{partial}")
    return "\n".join(lines)


def _training_of(checkpoint: Path, plan: Plan) -> TrainingRecord | None:
    """Return how the weights were trained, if the run that they lie in says so."""
    path = checkpoint.parent / RESULT
    if not path.is_file():
        return None
    run = read_result(path)
    same = (run.config.name, run.backbone) == (config_name(plan.cfg), plan.cfg.model.backbone.name)
    return run.training if same else None
