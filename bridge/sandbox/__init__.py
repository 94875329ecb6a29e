"""The pretend hospital: an EHR, a RIS and a scanner for the demo, the tests and load.

An extra of the package (`pip install imaging-bridge[sandbox]`); nothing of the bridge imports it. It listens on
loopback only, every page says that it is pretend, and its keys are made afresh at each start.
"""
