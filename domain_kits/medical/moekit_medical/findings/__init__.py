"""Findings and what is written of them: records, pictures and DICOM objects. Research use only."""
