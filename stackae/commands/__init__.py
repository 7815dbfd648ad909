"""The commands, one file each, named as they are typed."""

import os

from stackae.ranks.place import leads

# Two busy processes on the same cores make idle OpenMP threads spin, ten times slower; OpenMP reads
# this when torch is first imported, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not leads():
    # A process that has lost its leader ends without a word, and so should torch.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
