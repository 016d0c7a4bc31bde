"""Evaluate a fine-tuned classifier's checkpoint: top-1, top-5 and mean per-class accuracy."""

from pathlib import Path

from benchmark.cli import Parser, add_classifier_reports, announce, config_parser, pop_options, run


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__, checkpoint=True)
    add_classifier_reports(parser)
    return parser


def main() -> None:
    """Read the arguments and evaluate."""
    args = vars(make_parser().parse_args())
    announce(f"Evaluating {args['checkpoint']}")

    from benchmark.training.evaluate import evaluate, format_classifier
    from benchmark.training.processes import is_main

    result = evaluate(
        pop_options(args),
        args["checkpoint"],
        tool=Path(__file__).name,
        out=args["confusion"],
        per_class=args["per_class"] or args["worst"] > 0,
        bootstrap=args["bootstrap"],
    )
    if is_main():
        print(format_classifier(result, per_class=args["per_class"], worst=args["worst"]))


if __name__ == "__main__":
    run(main)
