"""What the tests of the demo share."""

import os

# Before scikit-learn loads: its threads wait for each other, and on a busy machine they wait long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
