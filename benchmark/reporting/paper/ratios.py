"""The paper's comparison of ReXNets with EfficientNets in time, measured on this machine."""

from collections.abc import Sequence
from decimal import Decimal

from benchmark.measuring.latency import Settings, measure_rounds, time_ratio
from benchmark.records.latency import LatencyFile, Pair
from benchmark.reporting.paper.tables import PAIRED_TABLE, Row, read_table


def paper_ratios(settings: Settings) -> LatencyFile:
    """Time the networks of Table 5 and compare EfficientNet's time over ReXNet's with the paper's.

    Every ReXNet meets the EfficientNet nearest in top-1 (paper, section 5.1, "Comparison with Efficientnets").

    The paper's times are at batch 1 on a CPU (Xeon E5-2630) and at batch 64 on a GPU (V100).
    """
    column = "cpu_ms_batch1" if settings.device == "cpu" else "gpu_ms_batch64"
    rows = {row["backbone"]: row for row in read_table(PAIRED_TABLE)}
    records, milliseconds = measure_rounds(list(rows), settings)
    times = dict(zip(rows, milliseconds, strict=True))
    pairs = []
    for rexnet, efficientnet in _pairs(list(rows.values())):
        ratio = time_ratio(times[efficientnet["backbone"]], times[rexnet["backbone"]])
        pairs.append(
            Pair(
                device=records[0].device,
                batch=settings.batch_size,
                pair=f"{efficientnet['label']} / {rexnet['label']}",
                top1=f"{efficientnet['top1']} / {rexnet['top1']}",
                ratio=Decimal(f"{ratio.median:.2f}"),
                quartiles=f"{ratio.low:.2f} to {ratio.high:.2f}",
                printed=Decimal(f"{float(efficientnet[column]) / float(rexnet[column]):.2f}"),
            )
        )
    return LatencyFile(latencies=records, pairs=pairs)


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return every ReXNet with the EfficientNet nearest in top-1."""
    rexnets, efficientnets = (
        [row for row in rows if row["backbone"].startswith(family)] for family in ("rexnet", "efficientnet")
    )
    return [
        (rexnet, min(efficientnets, key=lambda row: abs(float(row["top1"]) - float(rexnet["top1"]))))
        for rexnet in rexnets
    ]
