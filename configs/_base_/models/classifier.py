"""A classifier on any backbone of the catalogue: global pooling, dropout, linear; all layers are trained.

Mean and std come from the record of the backbone's weights.
"""

task = "finegrained"
drop_rate = 0.2  # of the dropout before the linear layer

model = dict(
    type="FineGrainedClassifier",
    backbone=dict(pretrained="imagenet"),
    drop_rate=drop_rate,
    data_preprocessor=dict(type="ClassifierPreprocessor"),
)
