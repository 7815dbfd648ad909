"""The experiments of docs/experiments.md, one function each; `scripts/reproduce.py` carries them out."""
