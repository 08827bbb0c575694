"""Tests: They and the processes that they start compute on one thread each."""

import os

# Small models are faster on one thread; where other work takes the processors, two threads that wait for one another are
# many times slower. torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
