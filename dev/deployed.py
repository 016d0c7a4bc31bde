"""Write tables of deployed formats into docs/deploying.md, between their markers, and their pictures beside it.

    python dev/deployed.py FOLDER [FOLDER ...]

Each folder is one that tools/deploy.py has filled; the markers are called after its config.
"""

import shutil
import sys
from pathlib import Path

from benchmark.records.deploy import DeployTable
from benchmark.reporting.deployed import PICTURE, render
from benchmark.reporting.markers import replace_between_markers

DOCS = Path(__file__).parents[1] / "docs"


def main(folders: list[Path]) -> None:
    for folder in folders:
        table = DeployTable.read(folder / "deploy.json")
        place = DOCS / "deploying"
        place.mkdir(exist_ok=True)
        picture = place / f"{table.config}.png"
        shutil.copyfile(folder / f"{PICTURE}.png", picture)
        text = f"{render(table, 'github', leave_out=('file',))}\n\n![{table.config}](deploying/{picture.name})"
        replace_between_markers(DOCS / "deploying.md", text, f"deployed {table.config}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
