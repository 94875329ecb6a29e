"""A fresh bridge for each test."""

from tests.unit.workflow.conftest import house

__all__ = ["house"]
