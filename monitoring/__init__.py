"""Watching what serves: replay, drift, live performance, the decision, and what people read."""
