"""An artefact that no experiment has made."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmark.experiments.artefact import Artefact


@pytest.fixture
def artefact() -> Callable[..., Artefact]:
    def make(**changes: Any) -> Artefact:
        content = {
            "experiment": "rank",
            "title": "Rank",
            "measured": "Nothing was measured.",
            "small_data": False,
            "config": {"networks": 1},
            "seeds": [0],
            "figures": [{"name": "a", "value": 1.0, "interval": [0.5, 1.5]}],
            "series": [{"group": "g", "name": "s", "x": [1], "y": [2], "low": [1], "high": [None], "n": 3}],
            "claims": [
                {
                    "claim": f"c{at}",
                    "text": "It is.",
                    "source": "paper",
                    "test": "t",
                    "verdict": verdict,
                    "evidence": "e",
                }
                for at, verdict in enumerate(("agrees", "near", "disagrees", "disagrees", "cannot tell"))
            ],
            "machine": "Abacus, 2 cores",
            "load": [0.1, 0.2],
            "provenance": {
                "git_commit": "c" * 40,
                "git_dirty": False,
                "versions": {},
                "python": "3",
                "device": "CPU",
                "precision": "fp32",
                "world_size": 1,
                "date": "2026-01-02T00:00:00+00:00",
            },
        }
        return Artefact.model_validate({**content, **changes})

    return make
