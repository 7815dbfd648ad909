"""Shallow autoencoders: a unit judged by an objective. Knows torch and nothing else."""
