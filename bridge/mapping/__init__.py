"""The engine for `mappings/`: tables that say which field of a message fills which field of ours."""

from bridge.mapping.compile import Mappings, default_directory
from bridge.mapping.context import MappingContext

__all__ = ["MappingContext", "Mappings", "default_directory"]
