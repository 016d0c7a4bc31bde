"""Evaluate a fine-tuned classifier's checkpoint: top-1, top-5 and mean per-class accuracy."""

from pathlib import Path

from benchmark.cli import Parser, config_parser, pop_options, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__, checkpoint=True)
    parser.add_argument("--confusion", type=Path, metavar="FILE.csv", help="save the confusion matrix, in images")
    parser.add_argument("--per-class", action="store_true", help="print and keep the accuracy by class")
    parser.add_argument(
        "--worst", type=whole_number(0), default=0, metavar="N", help="print the N classes with the lowest accuracy"
    )
    return parser


def main() -> None:
    """Read the arguments and evaluate."""
    args = vars(make_parser().parse_args())

    from benchmark.evaluation.accuracy import worst_classes
    from benchmark.records.figures import format_figures
    from benchmark.records.result import format_per_class
    from benchmark.training.evaluate import evaluate
    from benchmark.training.processes import is_main

    result = evaluate(
        pop_options(args),
        args["checkpoint"],
        tool=Path(__file__).name,
        out=args["confusion"],
        per_class=args["per_class"] or args["worst"] > 0,
    )
    if is_main():
        if args["per_class"]:
            print(format_per_class(result))
        for name, value in worst_classes(result.per_class.get("top1", {}), args["worst"]).items():
            print(f"worst {name:>20}  {value:.1f}")
        print(f"{format_figures(result.metrics, result.intervals)}  images {result.data.images}")


if __name__ == "__main__":
    run(main)
