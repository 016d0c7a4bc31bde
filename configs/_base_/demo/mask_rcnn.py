"""Laid over Mask R-CNN by --demo: Faster R-CNN's demo with a narrow mask head."""

_base_ = "./faster_rcnn.py"

channels = 96  # of the pyramid

model = dict(
    roi_head=dict(
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels),
    )
)
