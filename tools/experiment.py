"""Run one of the experiments behind the documents' arguments, and judge their claims: artefact, figure, verdicts."""

from pathlib import Path

from benchmark.cli import Parser, announce, run
from benchmark.experiments.table import DATA, EXPERIMENTS, OFFICIAL, SMALL


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(f"{__doc__} Killed and called again it resumes.")
    parser.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        help="; ".join(f"{name}: {row.title}" for name, row in EXPERIMENTS.items()),
    )
    parser.add_argument(
        "--work-dir", type=Path, help="folder of the experiment (default: its name below work_dirs/experiments)"
    )
    data = ", ".join(name for name, row in EXPERIMENTS.items() if row.takes_data)
    parser.add_argument(
        "--data-root", type=Path, help=f"folder with CIFAR's official files, for {data} (default: small data)"
    )
    parser.add_argument(
        "--data", choices=list(DATA), help=f"what to train on (default: {SMALL}, with --data-root {OFFICIAL})"
    )
    parser.add_argument("--quick", action="store_true", help="a small form of it, under two minutes")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another setting than its config's, epochs=3 say; given again for another one",
    )
    parser.add_argument(
        "--claim", action="append", default=[], metavar="NAME", help="print this claim alone, with its test in full"
    )
    return parser


def main() -> None:
    """Read the arguments, run and print."""
    args = make_parser().parse_args()
    announce(f"Running {args.experiment}")

    from benchmark.experiments.report import render
    from benchmark.experiments.run import run_experiment
    from benchmark.reporting.paper.published import read_published

    made, folder = run_experiment(
        args.experiment,
        work_dir=args.work_dir,
        data_root=args.data_root,
        data=args.data,
        quick=args.quick,
        settings=args.set,
        claims=args.claim,
        published=read_published,
    )
    print(render(made, folder, args.claim))


if __name__ == "__main__":
    run(main)
