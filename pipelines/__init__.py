"""Stages of the pipeline: each reads, calls `takeoff`, writes, and also runs by hand."""

import gc

# A stage is a short process that imports heavy libraries: looking for garbage after every few hundred new
# objects would take a third of that time.
gc.set_threshold(100_000, 20, 20)
