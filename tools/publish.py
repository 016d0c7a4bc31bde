"""Publish a run's weights (no pickle), config and figures with a model card: in a folder, or on Hugging Face's hub."""

from pathlib import Path

from benchmark.cli import Parser, announce, run


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a run or of an evaluation, with its result")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR|hf:ORG/NAME", help="a new folder, or a repository of the hub"
    )
    parser.add_argument(
        "--licence", metavar="NAME", help="of these weights, as the hub names it: apache-2.0 (default: said unknown)"
    )
    parser.add_argument("--private", action="store_true", help="a repository that is made on the hub is private")
    return parser


def main() -> None:
    """Read the arguments and publish."""
    args = vars(make_parser().parse_args())
    announce(f"Publishing {args['folder']}", aside=False)

    from benchmark.reporting.publish import publish

    print(publish(args.pop("folder"), args.pop("to"), **args))


if __name__ == "__main__":
    run(main)
