"""The packaged service: what a Bento runs."""
