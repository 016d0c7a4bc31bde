"""Core ML's packages. They run on Apple's systems alone: what is written here has not been run."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.inference.export.runtime import muted, pack_facts, unpack_facts

if TYPE_CHECKING:
    from benchmark.inference.export.conversion import Conversion

_STRAY = "executorch_debug_handle_mapping.json"  # the converter's, of no use to whoever runs the package


def convert(conversion: "Conversion", out: Path) -> None:
    """Write a model to a .mlpackage folder in float32, with what its user must know in its metadata."""
    import torch

    coremltools = _coremltools()
    model = conversion.model
    program = torch.export.export(model, tuple(model.example.values())).run_decompositions({})
    with warnings.catch_warnings(), muted():
        warnings.simplefilter("ignore")  # of the converter's own parts
        package = coremltools.convert(
            program,
            inputs=[coremltools.TensorType(name, tuple(value.shape)) for name, value in model.example.items()],
            outputs=[coremltools.TensorType(name) for name in model.outputs],
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
    package.user_defined_metadata.update(pack_facts(conversion.facts))
    package.save(str(out))
    (out / _STRAY).unlink(missing_ok=True)


def facts(path: Path) -> dict[str, Any]:
    """Return what must be known of a file."""
    package = _coremltools().models.MLModel(str(path), skip_model_load=True)
    return unpack_facts(package.user_defined_metadata)


def _coremltools() -> Any:
    """Import it without what it says of other packages' versions."""
    with warnings.catch_warnings(), muted():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            import coremltools
        finally:
            logging.disable(logging.NOTSET)
    return coremltools
