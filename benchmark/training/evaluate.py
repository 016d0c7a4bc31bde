"""Evaluating a checkpoint: what the evaluation tools call."""

from pathlib import Path

from benchmark.cli import Options
from benchmark.config.load import config_name
from benchmark.files.atomic import check_file, make_folder
from benchmark.files.run_folder import RESULT
from benchmark.records.result import Result, TrainingRecord, read_result
from benchmark.training.plan import Plan, ownership, plan_evaluation


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
    """Evaluate a checkpoint on its config's validation split and write a ``result.json`` that names it.

    Args:
        options: what to run, and how; without a work_dir the result goes into ``eval_<checkpoint>`` beside the
            checkpoint, for it never replaces that of the training.
        checkpoint: a .pth file of a run.
        tool: the calling tool; a config that another tool is for is refused.
        out: file for what the figures were counted from: detections in COCO's results format, or the confusion matrix.
        pictures: how many pictures to draw detections on.
        per_class: keep the figures by class in the result.
        bootstrap: resamples of the images for a detector's 95% intervals; 0 leaves them out.

    Raises:
        UserError: whatever the user can fix.
    """
    if out:
        check_file(out)
    plan = plan_evaluation(options, checkpoint, tool=tool)
    from benchmark.models.precision import autocast
    from benchmark.training.outcome import finish
    from benchmark.training.runner import BenchmarkRunner

    if out:
        make_folder(out.parent)
    with ownership(plan):
        runner = BenchmarkRunner.from_plan(plan)
        runner.load_or_resume()
        with autocast(plan.precision):
            runner.val()
        return finish(
            runner,
            plan,
            _training_of(checkpoint, plan),
            precision=plan.precision,
            out=out,
            pictures=pictures,
            per_class=per_class,
            bootstrap=bootstrap,
        )


def _training_of(checkpoint: Path, plan: Plan) -> TrainingRecord | None:
    """Return how the weights were trained, if the run that they lie in says so."""
    path = checkpoint.parent / RESULT
    if not path.is_file():
        return None
    run = read_result(path)
    same = (run.config.name, run.backbone) == (config_name(plan.cfg), plan.cfg.model.backbone.name)
    return run.training if same else None
