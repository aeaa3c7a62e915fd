"""What stands between a notebook and production: rules over its code and its clean run, and a score."""
