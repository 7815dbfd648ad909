"""Costs of unlabelled rows that a classifier is trained by beside the cross-entropy of the labelled ones."""
