"""The fine-grained data sets with the paper's transforms: 224x224, train on train+val, evaluate on test."""

image_size = 224  # px, side of the network's input
resize = 256  # px, shorter side before the centre crop of the evaluation
crop_area = (0.08, 1.0)  # of the picture, smallest and largest random crop of the training
batch_size = 256  # images per process
workers = 8  # data-loading processes per GPU

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=workers,
    persistent_workers=True,
    sampler=dict(type="SampleStream"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="FineGrainedDataset",
        split="trainval",
        allow_partial=False,
        pipeline=[
            dict(type="DecodeRandomCrop", size=image_size, area=crop_area, interpolation=None),
            dict(type="PackClassInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="FineGrainedDataset",
        split="test",
        allow_partial=False,
        test_mode=True,
        pipeline=[
            dict(type="DecodeCenterCrop", size=image_size, resize=resize, interpolation=None),
            dict(type="PackClassInputs"),
        ],
    ),
)
val_cfg = dict(type="MainBuffersValLoop")
val_evaluator = dict(type="ClassificationAccuracy")
