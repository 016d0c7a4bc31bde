"""Check a data set and what a config makes of it: classes, ids, boxes, masks, files; learning rate, weights, disk.

An error is what a training or an evaluation refuses; a warning says how it gets by. Exit status 1 if there is an error.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

from backbones.errors import did_you_mean
from benchmark.cli import Parser, add_config_changes, add_data_root, announce, run
from benchmark.data.layouts import LAYOUTS


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    named = f"coco, {', '.join(LAYOUTS)}"
    parser.add_argument("data", metavar="NAME|DIR|CONFIG", help=f"{named}, the folder of your own data, or a config")
    add_config_changes(parser)
    add_data_root(parser)
    parser.add_argument("--allow-partial", action="store_true", help="accept fewer images than the official ones")
    parser.add_argument("--decode", action="store_true", help="decode every picture too, and compare their content")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw training pictures with their annotations")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser


def main() -> None:
    """Read the arguments, check, and print one table."""
    parser = make_parser()
    args = vars(parser.parse_args())
    name, decode, as_json, sheet = (args.pop(key) for key in ("data", "decode", "json", "sheet"))
    announce(f"Checking {name}")

    from tabulate import tabulate

    from benchmark.config.load import DATA_CONFIGS, load_config, load_data_config
    from benchmark.preflight import Depth, Preflight, table_row
    from benchmark.preflight.sheet import check_sheet, draw_sheet

    if not (name in DATA_CONFIGS or name.endswith(".py") or os.path.exists(name)):
        known = f"{did_you_mean(name, DATA_CONFIGS)} Known: {', '.join(DATA_CONFIGS)}"
        parser.error(f"no data set and no config is called {name!r}.{known}")
    changes = {key: args.pop(key) for key in ("backbone", "dataset", "demo")} | {"options": args.pop("cfg_options")}
    is_data = name in DATA_CONFIGS or os.path.isdir(name)
    if is_data and any(changes.values()):
        parser.error("--backbone, --dataset, --demo and --cfg-options belong to a config, not to a data set")
    cfg = load_data_config(name, **args) if is_data else load_config(Path(name), **changes, **args)
    if sheet:
        check_sheet(sheet, cfg)
    rows = list(Preflight(cfg, depth=Depth.DECODE if decode else Depth.FULL).rows())
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        widths = [None, 50, None, None, 60]
        print(tabulate(map(table_row, rows), "keys", "github", disable_numparse=True, maxcolwidths=widths))
    # What is wrong with the folder of all splits is said once.
    for line in dict.fromkeys(f"{row.status}: {row.message}" for row in rows if row.status != "ok"):
        print(line, file=sys.stderr)
    if any(row.status == "error" for row in rows):
        sys.exit(1)
    if sheet:
        print(f"{draw_sheet(cfg, sheet)} training pictures with their annotations are in {sheet}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
