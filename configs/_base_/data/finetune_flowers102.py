"""Oxford Flowers-102 (Nilsback and Zisserman, ICVGIP 2008): 2 040 train+val and 6 149 test images of 102 flowers."""

_base_ = "../../finetune.py"

template = "finetune_flowers102"
dataset = "flowers102"
data_root = "data"  # holds flowers-102/
dataset_name = "Flowers-102"
num_classes = 102

model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(name=dataset))
val_dataloader = dict(dataset=dict(name=dataset))
