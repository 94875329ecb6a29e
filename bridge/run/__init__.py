"""Processes: the supervisor, the roles, the worker's loop and the ticker."""
