"""Evaluate a detector's checkpoint: box AP, AP50, AP75 and AP by object size, as COCO defines them."""

from pathlib import Path

from benchmark.cli import evaluate_detector, run


def main() -> None:
    """Evaluate, print, and write result.json."""
    evaluate_detector(__doc__, Path(__file__).name)


if __name__ == "__main__":
    run(main)
