"""Measurements: scripts, run by hand; each prints its figures and how to repeat them."""
