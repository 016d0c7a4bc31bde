"""Pictures that cannot be decoded: named and counted in training, an error in evaluation."""

import logging
from typing import Any

import cv2
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from backbones.errors import UserError
from benchmark.data.decode import UnreadableImageError
from benchmark.seeding import seeded

_IN_A_ROW = 20  # chosen at random: by chance in a data set of which half is unreadable, one time in a million


class TrainingSamples(BaseDataset):
    """Mixed into a data set of MMEngine's: samples that their own seed decides, and none of an unreadable picture.

    In training a picture that cannot be decoded is named, counted and replaced. In evaluation (``test_mode``) it is an
    error: a figure over fewer images would be wrong.
    """

    _skipped = 0

    def __getitem__(self, idx: int | tuple[int, int]) -> Any:
        """Return a sample by its index or, for training, by ``SampleStream``'s (index, seed).

        A training sample's metainfo counts in ``skipped`` the unreadable pictures in its place.
        """
        if not isinstance(idx, tuple):
            return super().__getitem__(idx)
        index, seed = idx
        self._skipped = 0
        with seeded(seed):
            sample = super().__getitem__(index)
        sample["data_samples"].set_metainfo({"skipped": self._skipped})
        return sample

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one picture; None, and so another picture, if it is unreadable in training.

        Raises:
            UserError: most pictures are unreadable, or in evaluation this one.
        """
        try:
            return super().prepare_data(idx)
        except UnreadableImageError as error:
            problem = error
        except cv2.error as error:  # one row of pixels, say, of which a smaller picture has none
            path = self.get_data_info(idx)["img_path"]
            problem = UnreadableImageError(f"Image {path} cannot be resized for the model: {error.err}. Leave it out.")
        if self.test_mode:
            raise problem
        self._skipped += 1
        if self._skipped == _IN_A_ROW:
            raise UserError(
                f"{_IN_A_ROW} training pictures in a row cannot be used. The last: {problem} See how many there are: "
                "python tools/check_data.py CONFIG --decode."
            )
        print_log(f"Skipped: {problem}", logger="current", level=logging.WARNING)
        return None
