"""Evaluate an instance segmentation checkpoint: mask AP and box AP, as COCO defines them."""

from pathlib import Path

from benchmark.cli import Parser, announce, detector_evaluation_parser, pop_options, run


def make_parser() -> Parser:
    """Return the parser of the command line."""
    return detector_evaluation_parser(__doc__)


def main() -> None:
    """Evaluate, print, and write result.json."""
    args = vars(make_parser().parse_args())
    announce(f"Evaluating {args['checkpoint']}")

    from benchmark.records.figures import format_figures
    from benchmark.records.result import format_per_class
    from benchmark.training.evaluate import evaluate
    from benchmark.training.processes import is_main

    result = evaluate(pop_options(args), args.pop("checkpoint"), tool=Path(__file__).name, **args)
    if is_main():
        print("\n".join(filter(None, [format_per_class(result), format_figures(result.metrics, result.intervals)])))


if __name__ == "__main__":
    run(main)
