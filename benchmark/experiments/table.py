"""Every experiment and all data by name. Imports nothing heavy: the command line's help lists them."""

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


@dataclass(frozen=True)
class Data:
    """Pictures to train on: what they are called, and whether a document uses them."""

    title: str
    official: bool


EXPERIMENTS = {
    "rank": Row("rank", "rank of random layers (section 3.2, figure 1)"),
    "factors": Row("factors", "factor analysis of two blocks (table 2)", takes_data=True),
    "printed_channels": Row("printed_channels", "printed channel configurations, counted (section 4, table 3)"),
    "channel_search": Row(
        "channel_search", "search for channel configurations (section 4, figures 2 and 4)", takes_data=True
    ),
    "trained_rank": Row("trained_rank", "rank of trained networks (section 6, figure 5)", takes_data=True),
    "ablations": Row("ablations", "ablations of ReXNet (sections 4.4 and 5.1)", takes_data=True),
    "cost_laws": Row("cost_laws", "laws of cost (documents 001 and 004)"),
    "choosers": Row("choosers", "which cheap number predicts latency and accuracy"),
    "quantised": Row("quantised", "what INT8 costs different designs"),
}
DATA = {
    "shapes": Data("generated shapes", official=False),
    "digits": Data("scikit-learn's digits", official=False),
    "cifar10": Data("CIFAR-10", official=True),
    "cifar100": Data("CIFAR-100", official=True),
}
SMALL, OFFICIAL = "shapes", "cifar100"  # without --data-root, and with it
