"""Your own pictures: `train/<class>/` and `test/<class>/` below the data root."""

_base_ = "../../finetune.py"

template = "finetune_imagefolder"
dataset = "imagefolder"
data_root = "data/imagefolder"
dataset_name = "ImageFolder"
num_classes = None  # as many as there are folders in train/

model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(name=dataset))
val_dataloader = dict(dataset=dict(name=dataset))
