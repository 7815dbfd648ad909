"""Several processes that carry out one run together, a device each: how they find and tell each other."""
