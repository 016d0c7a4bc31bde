"""COCO 2017 with SSD's augmentation (Liu et al., SSD, ECCV 2016, section 2.2), at a fixed square size.

A sample is drawn in one pass, see ``benchmark/data/ssd_sample.py``. The canvas that a picture is expanded on has the
mean of the backbone's preprocessing, filled in with the backbone.
"""

_base_ = "./coco.py"

input_size = 320  # px
workers = 8  # data-loading processes per GPU

train_pipeline = [
    dict(
        type="SSDSample",
        size=input_size,
        mean=None,  # of the canvas
        augment=True,
        expand_prob=0.5,
        ratio_range=(1, 4),
        min_ious=(0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size=0.3,
        flip_prob=0.5,
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18,
    ),
    dict(type="PackSample"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(input_size, input_size), keep_ratio=False),
    dict(type="PackSample", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
train_dataloader = dict(
    batch_size=32,  # images per GPU: 256 in total on 8 GPUs
    num_workers=workers,
    collate_fn=dict(type="collate_samples", stack=True),  # all pictures have one size: the model gets one tensor
    dataset=dict(filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=32, num_workers=workers, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=val_dataloader["batch_size"],
    num_workers=workers,
    dataset=dict(pipeline=[dict(type="LoadImageFromFile"), *test_pipeline[1:]]),
)
