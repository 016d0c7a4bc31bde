"""Train a config, evaluate it, and write work_dirs/<run>/result.json."""

from dataclasses import fields

from benchmark.cli import Parser, add_training_part, config_parser, pop_options, pop_part, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__, checkpoint=False)
    parser.add_argument(
        "--resume",
        nargs="?",
        choices=("auto",),
        const=True,
        default=False,
        help="continue from the newest intact checkpoint of the run; auto: begin where there is none",
    )
    parser.add_argument(
        "--resume-anyway", action="store_true", help="likewise, with another config, data or number of processes"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is in the folder")
    parser.add_argument(
        "--pretrained", metavar="imagenet|none|FILE", help="the backbone's weights (default: the config's)"
    )
    parser.add_argument(
        "--steps", type=whole_number(1), metavar="N", help="iterations; the schedule follows (default: the config's)"
    )
    parser.add_argument(
        "--save-interval",
        metavar="N|Nm",
        help="iterations, or minutes as in 30m (default: the config's)",
    )
    parser.add_argument(
        "--keep", type=whole_number(1), metavar="N", help="newest checkpoints to keep (default: the config's)"
    )
    parser.add_argument(
        "--compile",
        dest="compiled",
        action="store_true",
        help="the backbone by torch.compile; for images of one size",
    )
    parser.add_argument(
        "--lr",
        choices=("auto", "config"),
        help="learning rate: searched in 15%% of the iterations, or the config's (default: auto for your own data and "
        "for short trainings, unless --cfg-options says one)",
    )
    parser.add_argument("--ema", action="store_true", help="evaluate and keep a moving average of the weights")
    parser.add_argument(
        "--early-stop",
        type=whole_number(1),
        metavar="N",
        help="stop after N evaluations in a row without a better figure",
    )
    parser.add_argument(
        "--freeze-stages",
        type=whole_number(0, 4),
        metavar="N",
        help="freeze the backbone: 0 the layers before stride 4, 1 also those of C2, ... 4 all (default: the config's)",
    )
    parser.add_argument(
        "--accumulate",
        type=whole_number(2, 65_536),
        metavar="N",
        help="take each batch in N equal parts, one after another: it needs the memory of one",
    )
    parser.add_argument(
        "--tracker",
        dest="trackers",
        action="append",
        default=[],
        choices=("wandb", "mlflow", "trackio"),
        help="log to it too, besides TensorBoard; may be given several times",
    )
    parser.add_argument("--seed", type=whole_number(0), default=0)
    add_training_part(parser)
    parser.add_argument(
        "--pictures", type=whole_number(0), default=0, metavar="N", help="draw detections on N validation pictures"
    )
    return parser


def main() -> None:
    """Read the arguments and train."""
    args = vars(make_parser().parse_args())

    from benchmark.training.machine import let_threads_sleep
    from benchmark.training.processes import is_main

    let_threads_sleep()
    if is_main():
        print(f"Preparing {args['config']}", flush=True)  # PyTorch and MMDetection take seconds to import

    from benchmark.config.recipe import Recipe
    from benchmark.records.figures import format_figures
    from benchmark.training.train import train

    recipe = Recipe(**{field.name: args.pop(field.name) for field in fields(Recipe)})
    result = train(pop_options(args), subset=pop_part(args), recipe=recipe, **args)
    if is_main():
        print(format_figures(result.metrics, result.intervals))


if __name__ == "__main__":
    run(main)
