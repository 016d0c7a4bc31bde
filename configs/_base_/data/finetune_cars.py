"""Stanford Cars (Krause et al., 3DRR 2013): 8 144 training and 8 041 test images of 196 models of cars."""

_base_ = "../../finetune.py"

template = "finetune_cars"
dataset = "cars"
data_root = "data"  # holds stanford_cars/
dataset_name = "Stanford Cars"
num_classes = 196

model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(name=dataset))
val_dataloader = dict(dataset=dict(name=dataset))
