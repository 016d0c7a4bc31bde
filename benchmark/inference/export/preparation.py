"""How a picture gets the size of a network's input: as facts of a file, and as the beginning of an ONNX graph."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Preparation:
    """How a picture is prepared.

    Attributes:
        how: ``stretch``: resized to the size; ``fit``: resized, keeping its aspect ratio, until it fills the size in
            height or in width; ``crop``: its shorter side, or both, resized, then the centre of the size cut out;
            ``inside``: by the graph itself, whatever the picture's size.
        height: in pixels.
        width: likewise.
        resize: length of the side before the cut, in pixels.
        interpolation: of the resize by Pillow's name; detectors' is OpenCV's bilinear, which does not smooth.
        squash: whether both sides get that length.
    """

    how: Literal["stretch", "fit", "crop", "inside"]
    height: int
    width: int
    resize: int | None = None
    interpolation: str = "bilinear"
    squash: bool = False

    def facts(self) -> dict[str, Any]:
        """Return the attributes that say something."""
        own = dataclasses.asdict(self)
        return own if self.how == "crop" else {name: own[name] for name in ("how", "height", "width")}
