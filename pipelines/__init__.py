"""Stages of the pipeline: each reads, calls `takeoff`, writes, and also runs by hand."""
