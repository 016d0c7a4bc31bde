"""Evaluate an instance segmentation checkpoint: mask AP and box AP, as COCO defines them."""

from pathlib import Path

from benchmark.cli import evaluate_detector, run


def main() -> None:
    """Evaluate, print, and write result.json."""
    evaluate_detector(__doc__, Path(__file__).name)


if __name__ == "__main__":
    run(main)
