"""COCO 2017 boxes and masks for instance segmentation.

Masks stay polygons until an object is cut out for the mask head: bitmaps of whole pictures cost most of a sample.
"""

_base_ = "./coco_boxes.py"

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    dict(type="Resize", scale=_base_.image_scale, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSample"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(iou_types=("bbox", "segm"))
test_evaluator = val_evaluator
