"""Where stages are logged while they train; importing this loads neither torch, Lightning nor wandb."""
