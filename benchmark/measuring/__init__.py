"""What a model costs: params, multiply-adds, time, energy."""
