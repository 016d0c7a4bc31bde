"""Evaluating a checkpoint: what the evaluation tools call."""

from pathlib import Path

from backbones.errors import UserError
from benchmark.cli import Options
from benchmark.config.load import config_name
from benchmark.files.atomic import make_folder
from benchmark.files.run_folder import RESULT
from benchmark.records.result import Result, read_result
from benchmark.training.plan import Plan, plan_evaluation


def evaluate(
    options: Options,
    checkpoint: Path,
    *,
    tool: str,
    out: Path | None = None,
    pictures: int = 0,
    per_class: bool = False,
    bootstrap: int = 0,
) -> Result:
    """Evaluate a checkpoint on its config's validation split and write ``result.json``.

    Args:
        options: what to run, and how; without a work_dir the result is written beside the checkpoint.
        checkpoint: a .pth file of a run.
        tool: the calling tool; a config that another tool is for is refused.
        out: file for what the figures were counted from: detections in COCO's results format, or the confusion matrix.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.
        bootstrap: resamples of the images for a detector's 95% intervals; 0 leaves them out.

    Raises:
        UserError: whatever the user can fix.
    """
    plan = plan_evaluation(options, checkpoint, tool=tool)
    previous = _previous_result(plan)
    from benchmark.models.precision import autocast
    from benchmark.training.outcome import finish
    from benchmark.training.runner import BenchmarkRunner

    make_folder(plan.work_dir)
    runner = BenchmarkRunner.from_plan(plan)
    runner.load_or_resume()
    with autocast(plan.precision):
        runner.val()
    training = previous.training if previous else None
    extras = {"out": out, "pictures": pictures, "per_class": per_class, "bootstrap": bootstrap}
    return finish(runner, plan, training, precision=plan.precision, **extras)


def _previous_result(plan: Plan) -> Result | None:
    path = plan.work_dir / RESULT
    if not path.is_file():
        return None
    previous = read_result(path)
    ours, theirs = (config_name(plan.cfg), plan.cfg.dataset_name), (previous.config.name, previous.data.name)
    if ours != theirs:
        raise UserError(
            f"{path} holds the figures of {' on '.join(theirs)}: give --work-dir for those of {' on '.join(ours)}."
        )
    return previous
