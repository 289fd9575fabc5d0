"""From files to volumes: finding, reading, grouping, ordering and checking DICOM slices."""
