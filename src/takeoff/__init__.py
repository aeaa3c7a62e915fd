"""Takeoff: from a notebook to a released, packaged, watched model."""
