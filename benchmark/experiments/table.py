"""Every experiment by name. Imports nothing heavy: the command line's help lists them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """An experiment.

    Attributes:
        module: its file in this folder, which holds an ``EXPERIMENT``.
        title: what it is about.
        takes_data: whether it trains, on small data by default or on what ``--data-root`` holds.
    """

    module: str
    title: str
    takes_data: bool = False


EXPERIMENTS = {
    "rank": Row("rank", "rank of random layers (section 3.2, figure 1)"),
    "factors": Row("factors", "factor analysis of two blocks (table 2)", takes_data=True),
    "channel_search": Row("channel_search", "printed channel configurations, counted (section 4, table 3)"),
    "cost_laws": Row("cost_laws", "laws of cost (documents 001 and 004)"),
}
