"""The search for learning rate and weight decay, shared by any number of workers."""
