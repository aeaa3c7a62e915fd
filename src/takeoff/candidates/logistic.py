"""Candidate."""
