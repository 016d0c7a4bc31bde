"""Print the leaderboards of all result.json files below the folders, best first, as Markdown."""

import argparse
import sys
from pathlib import Path

from benchmark.cli import run


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("work_dirs")], metavar="DIR")
    args = parser.parse_args()

    from benchmark.leaderboard import find_results, markdown

    results, problems = find_results(args.folders)
    print(markdown(results))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    run(main)
