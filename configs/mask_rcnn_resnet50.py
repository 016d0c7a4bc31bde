"""Mask R-CNN + FPN on ResNet50, a row of Table 9."""

_base_ = "./mask_rcnn.py"

model = dict(backbone=dict(name="resnet50"))
