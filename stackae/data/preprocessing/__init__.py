"""What makes raw rows what the network sees: fitted once, saved with the model, applied again."""
