"""Evaluate a detector's checkpoint: box AP, AP50, AP75 and AP by object size, as COCO defines them."""

import dataclasses
from pathlib import Path

from benchmark.cli import config_parser, run


def main() -> None:
    """Read the arguments and evaluate."""
    parser = config_parser(__doc__, checkpoint=True)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="save the detections in COCO's results format")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="draw detections on N pictures")
    parser.add_argument("--per-class", action="store_true", help="print and keep AP by class")
    args = vars(parser.parse_args())

    from benchmark.engine import Options, evaluate, format_figures, format_per_class, is_main

    common = {field.name: args.pop(field.name) for field in dataclasses.fields(Options)}
    args.pop("local_rank")
    result = evaluate(Options(**common), args.pop("checkpoint"), tool=Path(__file__).name, **args)
    if is_main():
        print("\n".join(filter(None, [format_per_class(result), format_figures(result)])))


if __name__ == "__main__":
    run(main)
