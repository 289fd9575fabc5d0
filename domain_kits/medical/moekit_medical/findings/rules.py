"""What de-identification keeps, empties and removes (DICOM PS3.15 table E.1-1, as of 2026d).

Attributes are named by their keywords in PS3.6.
"""

from __future__ import annotations

# Values that are numbers, coordinates or tags. What the table lists among them is in `REMOVED`.
# Code strings are kept too if they are such.
SAFE_VRS = frozenset(("AT", "DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"))

# Public coding schemes of images (PS3.16 table 8-1); what else names a scheme is a local one.
CODING_SCHEMES = frozenset(
    ("DCM", "FMA", "I10", "I10P", "LN", "NCIt", "RADLEX", "SCT", "SNM3", "SRT", "UCUM", "UMLS")
)

OF_A_CODE = ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue")
OF_A_SCHEME = ("CodingSchemeDesignator", "CodingSchemeVersion")

# Texts and binary values that an image needs and that name nobody.
SAFE = frozenset(
    (
        "BluePaletteColorLookupTableData",
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "ConvolutionKernel",
        "DoubleFloatPixelData",
        "FilterType",
        "FloatPixelData",
        "GreenPaletteColorLookupTableData",
        "ICCProfile",
        "LongCodeValue",
        "LUTData",
        "Manufacturer",
        "ManufacturerModelName",
        "PixelData",
        "PositionReferenceIndicator",
        "RedPaletteColorLookupTableData",
        "RescaleType",
        "SoftwareVersions",
        "WindowCenterWidthExplanation",
    )
)

# The kinds of pixels of an image (PS3.3 C.7.6.3 and C.7.6.24).
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# UIDs that name a class or a coding scheme, not an instance.
SAFE_UIDS = frozenset(
    (
        "CodingSchemeUID",
        "ContextUID",
        "MappingResourceUID",
        "ReferencedSOPClassUID",
        "RelatedGeneralSOPClassUID",
        "SOPClassUID",
    )
)

# Actions Z and Z/D of the table, and those that an image must have, if empty (type 2).
EMPTIED = frozenset(
    (
        "AccessionNumber",
        "ConsultingPhysicianName",
        "ContentCreatorName",
        "ContentDate",
        "ContentTime",
        "ContrastBolusAgent",
        "PatientBirthDate",
        "PatientName",
        "PatientSex",
        "ReferringPhysicianName",
        "StudyDate",
        "StudyID",
        "StudyTime",
    )
)

# Actions X, D and their mixtures for values other than texts, dates, names and binary ones.
REMOVED = frozenset(
    (
        "AcquisitionContextSequence",
        "ActualHumanPerformersSequence",
        "AdmittingDiagnosesCodeSequence",
        "AuthorObserverSequence",
        "ConsultingPhysicianIdentificationSequence",
        "ContentCreatorIdentificationCodeSequence",
        "ContentSequence",
        "CustodialOrganizationSequence",
        "DigitalSignaturesSequence",
        "FlowIdentifierSequence",
        "GraphicAnnotationSequence",
        "IconImageSequence",
        "InstanceOriginStatus",
        "InstitutionCodeSequence",
        "InstitutionalDepartmentTypeCodeSequence",
        "IntendedRecipientsOfResultsIdentificationSequence",
        "InterpretationApproverSequence",
        "IssuerOfAdmissionIDSequence",
        "IssuerOfServiceEpisodeIDSequence",
        "IssuerOfTheContainerIdentifierSequence",
        "IssuerOfTheSpecimenIdentifierSequence",
        "ModifiedAttributesSequence",
        "ModifiedImageID",
        "ModifyingDeviceID",
        "NonconformingModifiedAttributesSequence",
        "OperatorIdentificationSequence",
        "OriginalAttributesSequence",
        "OtherPatientIDsSequence",
        "ParticipantSequence",
        "PatientAge",
        "PatientInsurancePlanCodeSequence",
        "PatientPrimaryLanguageCodeSequence",
        "PatientPrimaryLanguageModifierCodeSequence",
        "PatientSexNeutered",
        "PatientSize",
        "PatientWeight",
        "PerformedStationGeographicLocationCodeSequence",
        "PerformedStationNameCodeSequence",
        "PerformingPhysicianIdentificationSequence",
        "PersonIdentificationCodeSequence",
        "PhysiciansOfRecordIdentificationSequence",
        "PhysiciansReadingStudyIdentificationSequence",
        "PregnancyStatus",
        "PrescriptionNotesSequence",
        "ROICreatorSequence",
        "ROIInterpreterSequence",
        "ReasonForRequestedProcedureCodeSequence",
        "ReasonForTheAttributeModification",
        "ReasonForVisitCodeSequence",
        "ReferencedDigitalSignatureSequence",
        "ReferencedPatientAliasSequence",
        "ReferencedPatientPhotoSequence",
        "ReferencedPatientSequence",
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedSOPInstanceMACSequence",
        "ReferencedStudySequence",
        "ReferringPhysicianIdentificationSequence",
        "RequestAttributesSequence",
        "ResultsDistributionListSequence",
        "ScheduledHumanPerformersSequence",
        "ScheduledPerformingPhysicianIdentificationSequence",
        "ScheduledStationGeographicLocationCodeSequence",
        "ScheduledStationNameCodeSequence",
        "SmokingStatus",
        "SpecimenPreparationSequence",
        "TransducerIdentificationSequence",
        "UDISequence",
        "VerbalSourceIdentifierCodeSequenceTrial",
        "VerifyingObserverIdentificationCodeSequence",
        "VerifyingObserverSequence",
        "WaveformAnnotationSequence",
    )
)

# The same of the table that pydicom 3.0 does not know; a later one may.
REMOVED_LATER = frozenset(
    (
        "HistologicalDiagnosesCodeSequence",
        "PrimaryDiagnosisCodeSequence",
        "PrincipalDiagnosisCodeSequence",
        "SecondaryDiagnosesCodeSequence",
    )
)

_FIRST_OF_IMAGES, _PATIENT, _CLINICAL_TRIAL, _PHOTOGRAPHY = 0x0008, 0x0010, 0x0012, 0x0016


def is_removed(keyword: str, group: int) -> bool:
    """Whether an attribute goes that is neither emptied nor replaced.

    Group 0010 is of the patient: the table grows there with each edition, so all else of it goes.
    """
    return keyword in REMOVED or keyword in REMOVED_LATER or group == _PATIENT


def is_removed_group(group: int) -> bool:
    """Whether all attributes of a group go: commands, clinical trials, photographs, graphics.

    Groups below 0008 are of commands, files and directories and have no place in an image. Group
    0012 is the modules of clinical trials, which are optional as a whole; 0016 holds the position
    of a camera; 50xx are curves and 60xx overlays, which may show text.
    """
    return (
        group < _FIRST_OF_IMAGES
        or group in (_CLINICAL_TRIAL, _PHOTOGRAPHY)
        or group & 0xFF00 in (0x5000, 0x6000)
    )
