"""Check a data set and what a config makes of it: classes, ids, boxes, masks, files; learning rate, weights, disk.

An error is what a training or an evaluation refuses; a warning says how it gets by. Exit status 1 if there is an error.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from benchmark.cli import run


def main() -> None:
    """Read the arguments, check, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", metavar="NAME|CONFIG", help="coco, food101, cars, aircraft, flowers102, imagefolder")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: DATA_ROOT, then the config's)")
    parser.add_argument("--allow-partial", action="store_true", help="accept fewer images than the official ones")
    parser.add_argument("--decode", action="store_true", help="decode every picture too, and compare their content")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    args = parser.parse_args()

    from tabulate import tabulate

    from benchmark.config import DATA_CONFIGS, load_config, load_data_config
    from benchmark.preflight import Depth, Preflight, table_row

    load = load_data_config if args.data in DATA_CONFIGS else load_config
    cfg = load(
        args.data if args.data in DATA_CONFIGS else Path(args.data),
        data_root=args.data_root,
        allow_partial=args.allow_partial,
    )
    rows = list(Preflight(cfg, depth=Depth.DECODE if args.decode else Depth.FULL).rows())
    if args.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        widths = [None, 50, None, None, 60]
        print(tabulate(map(table_row, rows), "keys", "github", disable_numparse=True, maxcolwidths=widths))
    for row in rows:
        if row.status != "ok":
            print(f"{row.status}: {row.message}", file=sys.stderr)
    if any(row.status == "error" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
