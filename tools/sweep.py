"""Search learning rate and weight decay on the validation split, then train on train+val and evaluate once.

Start it as often as there are devices: the workers of one --work-dir share the trials. Started again after a kill, it
continues where it was.
"""

from benchmark.cli import Parser, announce, config_parser, pop_options, run, whole_number


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = config_parser(__doc__, checkpoint=False)
    parser.add_argument("--grid", default="7x7", metavar="NxM", help="learning rates by weight decays")
    parser.add_argument("--trials", type=whole_number(1), metavar="N", help="try N points of the grid (default: all)")
    parser.add_argument(
        "--steps", type=whole_number(1), metavar="N", help="iterations of a trial (default: the config's)"
    )
    parser.add_argument("--prune", action="store_true", help="stop trials that fall behind the others' median")
    parser.add_argument("--pretrained", metavar="imagenet|none|FILE", help="the weights (default: the config's)")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    return parser


def main() -> None:
    """Read the arguments, search, and print the grid and the final figures."""
    args = vars(make_parser().parse_args())
    announce(f"Searching with {args['config']}")

    from benchmark.training.machine import let_threads_sleep

    let_threads_sleep()

    from benchmark.training.sweep.report import report
    from benchmark.training.sweep.search import prepare_sweep, run_sweep

    sweep = prepare_sweep(pop_options(args), **args)
    print(report(sweep, run_sweep(sweep)))


if __name__ == "__main__":
    run(main)
