"""DICOM network and files: the only importer of pydicom and pynetdicom. What happens next: `workflow`."""

import warnings

from pydicom import config

# pydicom warns about a bad value by printing it, which is patient data on standard error. What a value must be is
# checked where it is used.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
