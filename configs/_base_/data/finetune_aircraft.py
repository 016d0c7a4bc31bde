"""FGVC Aircraft (Maji et al., arXiv 2013): 6 667 train+val and 3 333 test images of 100 variants."""

_base_ = "../../finetune.py"

template = "finetune_aircraft"
dataset = "aircraft"
data_root = "data"  # holds fgvc-aircraft-2013b/
dataset_name = "Aircraft"
num_classes = 100

model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(name=dataset))
val_dataloader = dict(dataset=dict(name=dataset))
