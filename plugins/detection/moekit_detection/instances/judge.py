"""How found instances are judged: as boxes are, by the overlap of masks."""

from __future__ import annotations

import dataclasses
import functools

from moekit_detection.instances.metrics import INSTANCE_HEADLINES
from moekit_detection.instances.pixels import decode_instances
from moekit_detection.instances.read import read_instances
from moekit_detection.instances.storage import load_instances, save_instances
from moekit_detection.instances.tally import InstanceTallier, check_instances
from moekit_detection.judging.judge import JUDGE
from moekit_detection.judging.quantised import quantised
from moekit_detection.judging.summary import compare

INSTANCE_JUDGE = dataclasses.replace(
    JUDGE,
    tallier=functools.partial(InstanceTallier, decode=decode_instances),
    save=save_instances,
    load=load_instances,
    check=check_instances,
    compare=functools.partial(compare, metric=INSTANCE_HEADLINES[0]),
    quantised=functools.partial(quantised, metric=INSTANCE_HEADLINES[0]),
    read=read_instances,
)
