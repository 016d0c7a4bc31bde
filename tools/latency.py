"""Time models or training steps side by side: median, 95th percentile, images/s, ratios to the first, in rounds."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.cli import Options, Parser, add_config_choices, add_data_root, add_precision, announce, run, whole_number
from benchmark.reporting.paper.tables import PAIRED_TABLE

if TYPE_CHECKING:
    from benchmark.records.latency import LoaderRate


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("models", nargs="*", metavar="CONFIG|BACKBONE", help="ratios are to the first")
    add_config_choices(parser)
    parser.add_argument("--table", type=int, choices=(PAIRED_TABLE,), help="the networks of the paper's table instead")
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        nargs="+",
        metavar="N",
        help="default: 1; for a table the paper's, for training 8",
    )
    parser.add_argument(
        "--input",
        type=whole_number(1, 65_536),
        nargs="+",
        metavar="PX",
        help="height and width, or one side (default: each model's own)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--threads", type=whole_number(1, 4096), metavar="N", help="of the CPU (default: PyTorch's choice)"
    )
    add_precision(parser)
    parser.add_argument("--memory-format", choices=("channels_last", "contiguous_format"), default="channels_last")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    parser.add_argument("--fold-bn", action="store_true", help="fold batch normalisation into convolutions")
    parser.add_argument("--with-postprocessing", action="store_true", help="time detectors with box decoding and NMS")
    parser.add_argument("--training", action="store_true", help="time configs' training steps")
    parser.add_argument(
        "--loader", action="store_true", help="with --training: time the data alone, and say which is the limit"
    )
    add_data_root(parser)
    parser.add_argument("--demo", action="store_true", help="--loader: generated data")
    parser.add_argument("--runs", type=whole_number(1), default=50, metavar="N", help="timed rounds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--read",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="print what tools/deploy.py or, on another machine, its portable.pyz has measured, instead of measuring",
    )
    return parser


def main() -> None:
    """Read the arguments, measure and print."""
    parser = make_parser()
    args = parser.parse_args()
    if args.read:
        if args.models or args.table:
            parser.error("--read prints what was measured: leave models and --table out")
        print_measured(args.read)
        return
    if bool(args.models) == bool(args.table):
        parser.error("give models or --table")
    if args.input and len(args.input) > 2:
        parser.error("--input takes height and width, or one side")
    if (args.backbone or args.dataset) and not any(model.endswith(".py") for model in args.models):
        parser.error("--backbone and --dataset belong to a CONFIG")
    others = [model for model in args.models or [f"--table {args.table}"] if not model.endswith(".py")]
    if args.training and others:
        parser.error(f"--training takes CONFIGs, found {others[0]}")
    if args.loader and not args.training:
        parser.error("--loader belongs to --training")
    if (args.demo or args.data_root) and not args.loader:
        parser.error("--demo and --data-root belong to --loader")
    announce("Timing")

    from benchmark.training.machine import let_threads_sleep

    if args.training:
        let_threads_sleep()  # as trainings do

    from tabulate import tabulate
    from torch.cuda import is_available

    from benchmark.measuring.latency import Settings, describe, latency_rows, measure
    from benchmark.records.latency import LatencyFile
    from benchmark.reporting.paper.ratios import paper_ratios

    common = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(Settings)
        if field.name not in ("batch_size", "input", "device")
    }
    common["input"] = args.input and (args.input[0], args.input[-1])
    devices: list[Literal["cpu", "cuda"]] = [args.device]
    if args.device == "auto":
        devices = ["cuda"] if is_available() else ["cpu"]
        if args.table and is_available():
            devices = ["cpu", "cuda"]
    loaders = time_loaders(args) if args.loader else []
    measured = []
    for device in devices:
        default = 64 if args.table and device == "cuda" else 8 if args.training else 1
        for batch_size in args.batch_size or [default]:
            settings = Settings(batch_size=batch_size, device=device, **common)
            if args.table:
                measured.append(paper_ratios(settings))
            else:
                measured.append(LatencyFile(latencies=measure(args.models, settings)))
    pairs = [pair for part in measured for pair in part.pairs]
    latencies = [latency for part in measured for latency in part.latencies]
    if args.json:
        print(LatencyFile(latencies=latencies, pairs=pairs, loaders=loaders).json_text())
        return
    style: dict[str, Any] = {"headers": "keys", "tablefmt": "github", "disable_numparse": True}
    for part in measured:
        print(f"{tabulate(latency_rows(part.latencies), **style)}\n\n{describe(part.latencies)}\n")
    if pairs:
        print(tabulate([pair.model_dump(by_alias=True) for pair in pairs], **style))
    for loader in loaders:
        for latency in latencies:
            if latency.model == loader.config:
                print(loader.limit(latency))


def print_measured(paths: list[Path]) -> None:
    """Print the tables of files of exported models' times."""
    from benchmark.records.deploy import DeployTable
    from benchmark.reporting.deployed import render

    print("\n\n".join(render(DeployTable.read(path), "github") for path in paths))


def time_loaders(args: argparse.Namespace) -> list["LoaderRate"]:
    """Time the data of every config."""
    from benchmark.training.loading import measure_loader

    return [
        measure_loader(
            Options(
                Path(model),
                data_root=args.data_root,
                demo=args.demo,
                batch_size=args.batch_size[0] if args.batch_size else None,
                allow_partial=True,
                backbone=args.backbone,
                dataset=args.dataset,
            )
        )
        for model in args.models
    ]


if __name__ == "__main__":
    run(main)
