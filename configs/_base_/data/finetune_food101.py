"""Food-101 (Bossard et al., ECCV 2014): 75 750 training and 25 250 test images of 101 dishes."""

_base_ = "../../finetune.py"

template = "finetune_food101"
dataset = "food101"
data_root = "data"  # holds food-101/
dataset_name = "Food-101"
num_classes = 101

model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(name=dataset))
val_dataloader = dict(dataset=dict(name=dataset))
