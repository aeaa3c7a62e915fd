"""Notebooks written to be awkward: each promotes, and each does what people do when nobody looks."""

from collections.abc import Callable

import nbformat

from tests.promotion.awkward_networks import clipped_network, late_network
from tests.promotion.awkward_pipelines import closure_pipeline, shadowed_pipeline

SKLEARN: tuple[Callable[[], nbformat.NotebookNode], ...] = (shadowed_pipeline, closure_pipeline)
TORCH: tuple[Callable[[], nbformat.NotebookNode], ...] = (late_network, clipped_network)
AWKWARD = SKLEARN + TORCH
