"""The commands, one file each, named as they are typed."""

import os

# Two busy processes on the same cores make idle OpenMP threads spin, ten times slower; OpenMP reads
# this when torch is first imported, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
