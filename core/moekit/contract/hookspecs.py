"""The hooks, all on one page. A plugin implements those it needs with `moekit.hookimpl`.

Most hooks return a list of frozen records. They are called at most once in a process, when
something that the plugin's manifest promises is first asked for, and should build nothing heavy.
The two hooks on runs get an event and return nothing; a plugin whose manifest names the
event under `listens` hears of each such event. A listener that fails is named in a warning, and the
run goes on.
"""

from __future__ import annotations

import pluggy

from moekit.contract.commands import CommandSpec, HealthCheckSpec
from moekit.contract.datasets import DatasetSpec
from moekit.contract.experts import ExpertSpec, GateSpec, TokenGateSpec
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.report import ReportSectionSpec, RunEvent
from moekit.contract.tasks import TaskSpec

PROJECT = "moekit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def moekit_experts() -> list[ExpertSpec]:  # type: ignore[empty-body]
    """Specialists that kits can place in the backbone's blocks.

    Example:
        >>> import torch, moekit
        >>> class Shift(torch.nn.Module):
        ...     reads_map = False
        ...     def __init__(self, width):
        ...         super().__init__()
        ...         self.offset = torch.nn.Parameter(torch.zeros(width))
        ...     def forward(self, x_TD):
        ...         return self.offset.expand_as(x_TD)
        >>> @moekit.hookimpl
        ... def moekit_experts():
        ...     return [moekit.ExpertSpec(
        ...         name="shift", build=Shift, summary="a learned vector", source="an example")]
        >>> moekit_experts()[0].build(4)(torch.ones(2, 4)).tolist()
        [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """


@hookspec
def moekit_gates() -> list[GateSpec]:  # type: ignore[empty-body]
    """Gating policies.

    Example:
        >>> import torch, moekit
        >>> class Cautious:
        ...     unit_weights = False
        ...     def __call__(self, scores_BNE, *, k, bias_E=None):
        ...         return moekit.TopKSoftmax()(scores_BNE, k=min(k + 1, scores_BNE.shape[-1]))
        >>> @moekit.hookimpl
        ... def moekit_gates():
        ...     return [moekit.GateSpec(
        ...         name="cautious", build=Cautious, summary="one more", source="an example")]
        >>> moekit_gates()[0].build()(torch.zeros(1, 3, 4), k=1).counts_E().sum().item()
        6
    """


@hookspec
def moekit_token_gates() -> list[TokenGateSpec]:  # type: ignore[empty-body]
    """What says which tokens of an image are computed; recipes name it. Since API 2.0.

    Example:
        >>> import torch, moekit
        >>> class Middle:
        ...     def __init__(self, width):
        ...         pass
        ...     def __call__(self, patch_BPD, grid, *, picture):
        ...         near_R = grid.rows / 2 - (torch.arange(grid.rows) - (grid.rows - 1) / 2).abs()
        ...         return near_R.repeat_interleave(grid.columns).expand(len(patch_BPD), -1)
        >>> @moekit.hookimpl
        ... def moekit_token_gates():
        ...     return [moekit.TokenGateSpec(
        ...         name="middle", build=Middle, summary="middle rows first", source="an example")]
        >>> gate = moekit_token_gates()[0].build(8)
        >>> gate(torch.zeros(1, 3, 8), moekit.Grid(3, 1), picture=torch.zeros(1, 3, 6, 2)).tolist()
        [[0.5, 1.5, 0.5]]
    """


@hookspec
def moekit_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Loaders for `--data NAME` and `--data NAME=PATH`.

    Example:
        >>> import moekit
        >>> from moekit.data.samples import Dataset
        >>> def load(path, seed):
        ...     return Dataset(name="nothing", samples=(), classes=("good", "bad"))
        >>> @moekit.hookimpl
        ... def moekit_datasets():
        ...     return [moekit.DatasetSpec(
        ...         name="nothing", load=load, summary="an empty set", takes_path="refused",
        ...         licence="CC0-1.0")]
        >>> moekit_datasets()[0].load(None, 0).classes
        ('good', 'bad')
    """


@hookspec
def moekit_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Numbers computed from scores and labels.

    Example:
        >>> import numpy as np, moekit
        >>> def base_rate(scores, labels, threshold):
        ...     return float(labels.mean())
        >>> @moekit.hookimpl
        ... def moekit_metrics():
        ...     return [moekit.MetricSpec(
        ...         name="base_rate", compute=base_rate, higher_is_better=False, bounds=(0.0, 1.0),
        ...         summary="share of positives", source="an example")]
        >>> moekit_metrics()[0].compute(np.array([0.2, 0.9]), np.array([0, 1]), 0.5)
        0.5
    """


@hookspec
def moekit_map_metrics() -> list[MapMetricSpec]:  # type: ignore[empty-body]
    """Numbers computed from maps and masks, of kits whose heads say where. Since API 1.2.

    Example:
        >>> import numpy as np, moekit
        >>> def largest(counts):
        ...     return float(counts.sizes_R.max(initial=0))
        >>> @moekit.hookimpl
        ... def moekit_map_metrics():
        ...     return [moekit.MapMetricSpec(
        ...         name="largest", compute=largest, higher_is_better=True, bounds=(0.0, 1e9),
        ...         summary="pixels of the largest region", source="an example")]
        >>> counts = moekit.MapCounts(
        ...     edges_T=np.array([0.0, 0.5]), negatives_NT=np.array([[90, 4]]),
        ...     regions_RT=np.array([[10, 5]]), image_R=np.array([0]), weights_N=np.array([1.0]))
        >>> moekit_map_metrics()[0].compute(counts), counts.overlap_T.tolist()
        (10.0, [1.0, 0.5])
    """


@hookspec
def moekit_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Kinds of answer: how each is learned, given, judged and shown. Since API 2.0.

    Example:
        >>> import moekit
        >>> from moekit.tasks.score import SCORE
        >>> import dataclasses
        >>> @moekit.hookimpl
        ... def moekit_tasks():
        ...     return [dataclasses.replace(SCORE, name="grade", summary="a grade from 0 to 1")]
        >>> moekit_tasks()[0].outputs[0].name
        'logit_B'
    """


@hookspec
def moekit_kits() -> list[KitSpec]:  # type: ignore[empty-body]
    """Domain kits: specialists, head, recipe and metrics under one name.

    Example:
        >>> import torch, moekit
        >>> class Mean(torch.nn.Module):
        ...     def __init__(self, site):
        ...         super().__init__()
        ...         self.linear = torch.nn.Linear(site.width * site.blocks, 1)
        ...     def forward(self, tokens, grid):
        ...         pooled = torch.cat([x_BND.mean(1) for x_BND in tokens], dim=1)
        ...         return {"logit_B": self.linear(pooled)[:, 0]}
        >>> @moekit.hookimpl
        ... def moekit_kits():
        ...     return [moekit.KitSpec(
        ...         name="tiny", summary="a linear probe", slots=(), head_blocks=(-1,),
        ...         build_head=Mean, recipe=moekit.Recipe(), metrics=("auroc",), positive="odd",
        ...         outcome_names={"missed": "miss", "false_alarm": "false alarm"},
        ...         demo_dataset="folder")]
        >>> moekit_kits()[0].metrics
        ('auroc',)
    """


@hookspec
def moekit_health_checks() -> list[HealthCheckSpec]:  # type: ignore[empty-body]
    """Questions for `moekit plugins doctor`.

    Example:
        >>> import shutil, moekit
        >>> def enough_space():
        ...     free = shutil.disk_usage(".").free
        ...     return None if free > 2**20 else "the disk is full; free some space"
        >>> @moekit.hookimpl
        ... def moekit_health_checks():
        ...     return [moekit.HealthCheckSpec(
        ...         name="space", run=enough_space, summary="is there space on the disk?")]
        >>> moekit_health_checks()[0].run() is None
        True
    """


@hookspec
def moekit_report_sections() -> list[ReportSectionSpec]:  # type: ignore[empty-body]
    """Sections that the reports of certain kits get.

    Example:
        >>> import moekit
        >>> def render(context):
        ...     rows = (("images", str(context.result["n"])),)
        ...     table = moekit.ReportTable(columns=("what", "how many"), rows=rows)
        ...     return moekit.ReportSection(title="Size", tables=(table,))
        >>> @moekit.hookimpl
        ... def moekit_report_sections():
        ...     return [moekit.ReportSectionSpec(
        ...         name="size", kits=("tiny",), render=render, summary="the size of the set")]
        >>> context = moekit.ReportContext(
        ...     result={"n": 12}, record={}, predictions=None, validation=None)
        >>> moekit_report_sections()[0].render(context).tables[0].rows
        (('images', '12'),)
    """


@hookspec
def moekit_commands() -> list[CommandSpec]:  # type: ignore[empty-body]
    """Commands of `moekit`, declared in the manifest with the lines that help shows.

    Example:
        >>> import moekit
        >>> def build():
        ...     import click
        ...     @click.command()
        ...     @click.argument("name")
        ...     @moekit.command_options
        ...     def greet(name, as_json):
        ...         '''Greet NAME.'''
        ...         moekit.print_json({"hello": name}) if as_json else click.echo(f"hello {name}")
        ...     return greet
        >>> @moekit.hookimpl
        ... def moekit_commands():
        ...     return [moekit.CommandSpec(name="greet", build=build, summary="Greet somebody.")]
        >>> command = moekit_commands()[0].build()
        >>> command.main(["world"], standalone_mode=False)
        hello world
        >>> command.main(["world", "--json"], standalone_mode=False)
        {"hello": "world"}
    """


@hookspec
def moekit_run_started(event: RunEvent) -> None:
    """A run begins or goes on. Called once, in the first of several processes.

    Example:
        >>> import pathlib, moekit
        >>> @moekit.hookimpl
        ... def moekit_run_started(event):
        ...     print(event.command, event.kit, "on", event.dataset)
        >>> moekit_run_started(moekit.RunEvent(
        ...     command="adapt", folder=pathlib.Path("run"), kit="tiny", dataset="folder",
        ...     record={}))
        adapt tiny on folder
    """


@hookspec
def moekit_run_finished(event: RunEvent) -> None:
    """A run is finished and all of its files are written. Called once.

    Example:
        >>> import pathlib, moekit
        >>> @moekit.hookimpl
        ... def moekit_run_finished(event):
        ...     print("finished:", event.command, "in", event.folder)
        >>> moekit_run_finished(moekit.RunEvent(
        ...     command="evaluate", folder=pathlib.Path("run"), kit="tiny", dataset="folder",
        ...     record={}))
        finished: evaluate in run
    """
