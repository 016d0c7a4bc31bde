"""What every run shares: imports, hooks, logging, environment."""

custom_imports = dict(imports=["benchmark.training.registered"])
default_scope = "mmdet"
memory_format = "channels_last"  # or "contiguous_format"
log_interval = 50  # iterations
checkpoint_interval = "10m"  # minutes, or a number of iterations
checkpoints_kept = 2

default_hooks = dict(
    runtime_info=dict(type="QuietRuntimeInfoHook"),
    timer=dict(type="IterTimerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    logger=dict(type="LoggerHook", interval=log_interval, interval_exp_name=10**9, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="AtomicCheckpointHook", interval=checkpoint_interval, keep=checkpoints_kept),
)
custom_hooks = [dict(type="SeedIterationHook"), dict(type="FiniteLossHook"), dict(type="CostHook")]
log_processor = dict(type="ProgressLog", by_epoch=False, window_size=log_interval)
visualizer = dict(type="Visualizer", vis_backends=[dict(type="TensorboardVisBackend")])
env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
randomness = dict(seed=0)
launcher = "none"
