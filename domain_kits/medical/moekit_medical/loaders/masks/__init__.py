"""Where lesions lie: DICOM SEG, RT structure sets and NIfTI labels on the voxels of a volume."""
