"""What an experiment is, and what it is given to run with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.experiments.artefact import Artefact, Figure, Series
from benchmark.experiments.units import Values, do_units
from benchmark.records.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Claim:
    """A claim of a document, before it is judged: see ``artefact.Claim``."""

    text: str
    source: str
    test: str


@dataclass(frozen=True)
class Published:
    """An accuracy that a document prints of a backbone, in percent.

    Attributes:
        backbone: its name.
        figure: what was measured: ``ImageNet top-1``.
        value: as printed.
        config: of ``configs/`` whose network it is the accuracy of, empty for the backbone as a classifier.
        side: of the images in pixels.
        source: document and table.
    """

    backbone: str
    figure: str
    value: float
    config: str
    side: int
    source: str


@dataclass(frozen=True)
class Run:
    """What an experiment runs with.

    Attributes:
        folder: its own, owned by this process.
        config: every setting, plain values.
        data_root: of official data, None for small data.
        processes: how many to work with.
        data: name of ``DATA``, None for an experiment that takes none.
        published: accuracies of networks, read when they are asked for.
    """

    folder: Path
    config: Mapping[str, Any]
    data_root: Path | None
    processes: int
    data: str | None = None
    published: Callable[[], Sequence[Published]] = tuple

    def do(
        self,
        units: Mapping[str, Any],
        work: Callable[[Any], Values],
        *,
        alone: bool = False,
        note: Callable[[str, Values], None] = lambda name, values: None,
    ) -> dict[str, Values]:
        """Return what ``work`` makes of every unit's argument; what earlier runs have done is not done again.

        Args:
            units: arguments by the unit's name, which becomes a file's.
            work: a function of a module, since it runs in other processes.
            alone: one unit after the other in this process, as times are measured.
            note: is told of every unit that is done, those of earlier runs first.
        """
        return do_units(self.folder, units, work, processes=0 if alone else self.processes, note=note)


@dataclass(frozen=True)
class Findings:
    """What came of a run.

    Attributes:
        measured: what was measured, on what, how often.
        verdicts: by claim: verdict and the evidence for it.
        small_data: as in ``Artefact``.
        data: what the title says of the data, empty for none.
    """

    measured: str
    verdicts: Mapping[str, tuple[Verdict, str]]
    figures: Sequence[Figure] = ()
    series: Sequence[Series] = ()
    seeds: Sequence[int] = (0,)
    small_data: bool = False
    data: str = ""


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        config: of the full run, plain values.
        quick: what a quick run has in place of it.
        claims: of the documents, by name.
        run: measures and judges.
        draw: makes the figure of an artefact, by the artefact alone.
        check: what can be wrong with a config, found before anything is written.
        small: what a run on small data has in place of ``config``.
        settable: keys of the config that the command line may change.
    """

    config: Mapping[str, Any]
    quick: Mapping[str, Any]
    claims: Mapping[str, Claim]
    run: Callable[[Run], Findings]
    draw: "Callable[[Artefact], Drawing]"
    check: Callable[[Mapping[str, Any]], None] = lambda config: None
    small: Mapping[str, Any] = field(default_factory=dict)
    settable: Sequence[str] = ()
