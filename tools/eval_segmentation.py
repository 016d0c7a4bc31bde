"""Evaluate an instance segmentation checkpoint: mask AP and box AP, as COCO defines them."""

from pathlib import Path

from benchmark.cli import detector_evaluation_parser, pop_options, run


def main() -> None:
    """Evaluate, print, and write result.json."""
    args = vars(detector_evaluation_parser(__doc__).parse_args())

    from benchmark.training.train import evaluate, print_figures

    print_figures(evaluate(pop_options(args), args.pop("checkpoint"), tool=Path(__file__).name, **args))


if __name__ == "__main__":
    run(main)
