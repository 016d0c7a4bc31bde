"""Train one recipe on several backbones and seeds: a plan with its time first, then every run, then the decision.

Interrupted at any moment and started again it continues; finished runs are not run again, and one that fails is listed
and does not stop the others.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli import (
    Parser,
    add_batch_size,
    add_data_root,
    add_training_part,
    announce,
    names,
    pair,
    pop_part,
    run,
    whole_number,
)

if TYPE_CHECKING:
    from benchmark.training.series.workers import Engine

_OF_JOBS = ("partition", "minutes", "gpus", "sbatch")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--template", default="ssdlite", metavar="NAME|CONFIG", help="of configs/, or a config")
    parser.add_argument("--dataset", metavar="NAME|DIR", help="of the template, or the folder of your own data")
    parser.add_argument(
        "--backbones", type=names, required=True, metavar="A,B,C", help="of the catalogue, or timm:NAME"
    )
    parser.add_argument("--budget", type=whole_number(1), required=True, metavar="N", help="iterations of each run")
    parser.add_argument("--seeds", type=whole_number(1, 1000), default=3, metavar="K", help="runs a backbone")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of the series")
    parser.add_argument(
        "--workers",
        type=whole_number(1, 4096),
        metavar="N",
        help="runs at a time (default: 1, one a GPU; on a cluster all)",
    )
    parser.add_argument(
        "--cluster", choices=("slurm",), help="run each as a job of a cluster (default: on this machine)"
    )
    for_jobs = parser.add_argument_group("with --cluster, for each job")
    for_jobs.add_argument("--partition", metavar="NAME", help="(default: the cluster's)")
    for_jobs.add_argument(
        "--minutes",
        type=whole_number(5, 525_600),  # Slurm may warn a minute early, and saving takes its time
        metavar="N",
        help="time limit, after which it saves, goes back into the queue and resumes (default: 240)",
    )
    for_jobs.add_argument("--gpus", type=whole_number(0, 1), metavar="0|1", help="(default: 0)")
    for_jobs.add_argument(
        "--sbatch",
        type=pair,
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="other parameters of sbatch, cpus-per-task=8 mem=32G say",
    )
    parser.add_argument("--pretrained", metavar="imagenet|none", help="the backbones' weights (default: the config's)")
    add_training_part(parser)
    add_batch_size(parser)
    add_data_root(parser)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the config"
    )
    parser.add_argument(
        "--drop-clear-losers", action="store_true", help="run no more what lies clearly behind after a seed"
    )
    parser.add_argument("--plan-only", action="store_true", help="print the plan and its time, and train nothing")
    return parser


def _engine(args: argparse.Namespace) -> "Engine":
    """Return where the runs happen."""
    from backbones.errors import UserError

    of_jobs = {key: value for key in _OF_JOBS if (value := getattr(args, key)) is not None}
    if args.cluster is None:
        if of_jobs:
            raise UserError(f"--{next(iter(of_jobs))} is for jobs of a cluster: give --cluster slurm, or leave it out.")
        from benchmark.training.series.workers import LocalWorkers

        return LocalWorkers(args.workers or 1)
    from benchmark.training.series.slurm import Request, Slurm

    request = Request(**{**of_jobs, "sbatch": dict(of_jobs.get("sbatch", ()))})
    return Slurm(request, args.workers or len(args.backbones) * args.seeds, args.work_dir)


def main() -> None:
    """Read the arguments, plan, run, and say which backbone to take."""
    args = make_parser().parse_args()
    announce("Planning", aside=False)

    from benchmark.reporting.decision.series import conclude
    from benchmark.training.series.plan import jobs, plan_series
    from benchmark.training.series.run import describe, failures, run_series, time_steps

    engine = _engine(args)
    named = args.template.endswith(".py")
    recipe = {
        "template": args.template if named else f"configs/{args.template}.py",
        "data_root": str(args.data_root) if args.data_root else None,
        "steps": args.budget,
        "subset": pop_part(vars(args)),
        "cfg_options": tuple(args.cfg_options),
        **{key: getattr(args, key) for key in ("dataset", "batch_size", "pretrained", "precision")},
    }
    series = plan_series(recipe, args.backbones, args.seeds, args.work_dir, drop_clear_losers=args.drop_clear_losers)
    if args.plan_only:
        series = time_steps(series, args.work_dir) if engine.times_here else series
        print(describe(series, jobs(series, args.work_dir), engine.places))
        return
    outcome = run_series(series, args.work_dir, engine=engine, say=lambda text: print(text, flush=True))
    print(conclude(args.work_dir), end="")
    for line in failures(outcome):
        print(line, file=sys.stderr)
    sys.exit(1 if outcome.failed else 0)


if __name__ == "__main__":
    run(main)
