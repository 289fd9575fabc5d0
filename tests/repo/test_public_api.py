"""The public names are these and no others."""

import importlib

import moekit

PUBLIC = [
    "Answer",
    "Answering",
    "Answers",
    "BlockRouting",
    "BottleneckExpert",
    "CommandSpec",
    "Correcting",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "ExpertChoice",
    "ExpertSpec",
    "Features",
    "Field",
    "FitJob",
    "FitResult",
    "ForegroundTokenGate",
    "Frame",
    "Gate",
    "GateSpec",
    "Grid",
    "HeadOutput",
    "HeadSite",
    "HealthCheckSpec",
    "ImageError",
    "Item",
    "ItemReader",
    "Judge",
    "KitSpec",
    "Learn",
    "Level",
    "MapCounts",
    "MapMetricExample",
    "MapMetricSpec",
    "MaskTable",
    "MetricExample",
    "MetricSpec",
    "MoEBackbone",
    "MoekitError",
    "MotionTokenGate",
    "Outputs",
    "PluginError",
    "Point",
    "PooledHead",
    "PredictJob",
    "Predictions",
    "Provenance",
    "Recipe",
    "Registry",
    "ReportChart",
    "ReportContext",
    "ReportGrid",
    "ReportLine",
    "ReportSection",
    "ReportSectionSpec",
    "ReportTable",
    "RequestPlan",
    "Routing",
    "RoutingTrace",
    "RunEvent",
    "Runtime",
    "Sample",
    "Show",
    "Skipped",
    "SpecialistExpert",
    "SpecialistSlot",
    "StorageError",
    "StoredPrefix",
    "SummaryJob",
    "Tallier",
    "Tally",
    "TaskContext",
    "TaskSpec",
    "TextureTokenGate",
    "TokenChoice",
    "TokenGate",
    "TokenGateSpec",
    "TokenRouting",
    "TopKSigmoid",
    "TopKSoftmax",
    "UnitTopK",
    "UsageError",
    "WeightsError",
    "Whole",
    "build_backbone",
    "carve",
    "command_line",
    "command_options",
    "hookimpl",
    "print_json",
    "reporter",
    "say",
    "split_dataset",
]


def test_the_public_names_are_frozen():
    assert sorted(moekit.__all__) == sorted(PUBLIC)


def test_each_public_name_is_there_documented_and_at_home_where_it_says():
    for name in PUBLIC:
        value = getattr(moekit, name)
        if name not in ("hookimpl", "Outputs"):
            assert value.__doc__, name
            assert value.__module__.startswith("moekit."), name


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(moekit, "nonesuch")
    assert set(dir(moekit)) == set(PUBLIC)


def test_each_error_is_in_the_drawn_tree():
    errors = importlib.import_module("moekit.errors")
    drawn = errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert f"{name} " in drawn, name
            assert f"exit {value.exit_code}" in drawn
