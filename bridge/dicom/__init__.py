"""DICOM network and files: the only importer of pydicom and pynetdicom. What happens next: `workflow`."""
