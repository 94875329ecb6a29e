"""Imaging Bridge: from an HL7 order to an image opened from the chart."""

__version__ = "0.1.0"
