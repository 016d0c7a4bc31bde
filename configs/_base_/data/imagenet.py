"""ImageNet (Russakovsky et al., ILSVRC, IJCV 2015): 1 281 167 training and 50 000 validation images of 1 000 classes.

Each backbone has its own input, that of its paper, and the crop and interpolation of its weights' record: 224x224 for
ReXNet, and for all that the paper's Table 4 compares.
"""

dataset = "imagenet"
data_root = "data/imagenet"  # holds train/<synset>/, and val/<synset>/ or val/ with the flat files
dataset_name = "ImageNet"
num_classes = 1_000
image_size = None  # px, side of the network's input; None for the backbone's own
crop_area = (0.08, 1.0)  # of the picture, smallest and largest random crop of the training
batch_size = 128  # images per process
workers = 8  # data-loading processes per GPU

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=workers,
    persistent_workers=True,
    sampler=dict(type="SampleStream"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="FineGrainedDataset",
        name=dataset,
        split="train",
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
        name=dataset,
        split="val",
        allow_partial=False,
        real=None,  # file of the reassessed labels
        test_mode=True,
        pipeline=[
            dict(type="DecodeCenterCrop", size=image_size, resize=None, interpolation=None, squash=None),
            dict(type="PackClassInputs"),
        ],
    ),
)
val_cfg = dict(type="MainBuffersValLoop")
val_evaluator = dict(type="ClassificationAccuracy")
