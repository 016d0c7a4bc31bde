"""COCO 2017 boxes for two-stage detectors: the shorter side becomes 800 px unless the longer would pass 1200."""

_base_ = "./coco.py"

image_scale = (1200, 800)  # px, (longest, shortest) side
workers = 4  # data-loading processes per GPU

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSample"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="PackSample", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
train_dataloader = dict(
    batch_size=2,  # images per GPU: 16 in total on 8 GPUs
    num_workers=workers,
    collate_fn=dict(type="collate_samples"),
    dataset=dict(filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=1, num_workers=workers, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=val_dataloader["batch_size"],
    num_workers=workers,
    dataset=dict(pipeline=[dict(type="LoadImageFromFile"), *test_pipeline[1:]]),
)
