"""OHIF as an unmodified, pinned npm package: fetched and trimmed once (`install`), served by us (`serve`)."""
