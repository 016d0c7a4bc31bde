"""The accuracies that the paper prints, one a backbone and figure, for experiments that ask what predicts them."""

from benchmark.experiments.frame import Published
from benchmark.reporting.paper.tables import classifier_side, find_table, read_table

# Figure -> column, and tables by precedence: a backbone that several of them have is the first one's.
_FIGURES = {"ImageNet top-1": ("top1", (5, 4)), "SSDLite AP": ("ap", (6,))}


def read_published() -> list[Published]:
    """Return the printed accuracies of the backbones that the catalogue has; of several of one table the last one."""
    found: dict[tuple[str, str], Published] = {}
    for figure, (column, numbers) in _FIGURES.items():
        for number in numbers:
            table, own = find_table(number), {}
            for row in read_table(number):
                if row["backbone"] and row[column]:
                    own[figure, row["backbone"]] = Published(
                        row["backbone"],
                        figure,
                        float(row[column]),
                        table.config.format(backbone=row["backbone"]) if table.config else "",
                        classifier_side(row),
                        f"paper, table {number}",
                    )
            found = {**own, **found}
    return list(found.values())
