"""Count params and multiply-adds of configs by part, or compare our counts with a table of the paper."""

import json
from pathlib import Path

from benchmark.cli import Parser, add_config_choices, announce, run
from benchmark.reporting.paper.tables import TABLES, table_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("configs", type=Path, nargs="*", metavar="CONFIG", help="default: the leaves of configs/")
    add_config_choices(parser)
    parser.add_argument("--table", type=table_number, choices=TABLES, help="a table of the paper")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> None:
    """Read the arguments, count and print."""
    parser = make_parser()
    args = parser.parse_args()
    if (args.backbone or args.dataset) and not args.configs:
        parser.error("--backbone and --dataset belong to a CONFIG")
    announce("Counting params and multiply-adds")

    from tabulate import tabulate

    from benchmark.measuring.complexity import config_rows
    from benchmark.reporting.paper.counts import (
        cell_rows,
        compare_complexity,
        complexity_rows,
        describe_cells,
        describe_table,
    )

    if args.table is None:
        rows = config_rows(args.configs, backbone=args.backbone, dataset=args.dataset)
        footer = "Params in millions, multiply-adds in billions at the input (H x W)."
    elif TABLES[args.table].footnotes:
        rows = cell_rows(args.table)
        footer = describe_cells(args.table, rows)
    else:
        rows, footer = complexity_rows(compare_complexity(args.table)), describe_table(args.table)
    print(
        json.dumps(rows, indent=2) if args.json else f"{tabulate(rows, headers='keys', tablefmt='github')}\n\n{footer}"
    )


if __name__ == "__main__":
    run(main)
