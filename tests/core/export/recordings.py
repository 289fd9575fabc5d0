"""Graphs that were recorded, by what they were recorded from: a recording takes many seconds."""

import dataclasses
import hashlib
import json
import shutil

from safetensors.torch import save

from moekit.export.graph import INPUT, GraphInput, record_onnx

PLAIN = (bool, int, float, str, tuple)


class Recordings:
    """Stands in the place of `record_onnx`: an equal program is recorded once, then copied.

    Args:
        folder: Where the graphs are kept.
    """

    def __init__(self, folder):
        self.folder = folder
        self.always = False
        """Whether each program is recorded, also one that is known."""

    def write(self, program, names, shape, path, *, whose):
        """As `write_onnx`."""
        return self.record(program, names, {INPUT: GraphInput(tuple(shape), 0)}, path, whose=whose)

    def record(self, program, names, inputs, path, *, whose):
        """As `record_onnx`."""
        asked = (*facts_of(program), *names, *inputs.items())
        weights = save({name: value.clone() for name, value in program.state_dict().items()})
        key = hashlib.sha256(weights + repr(asked).encode())
        graph = self.folder / key.hexdigest()
        given = graph.with_suffix(".json")
        if self.always or not graph.exists():
            given.write_text(json.dumps(record_onnx(program, names, inputs, graph, whose=whose)))
        shutil.copy(graph, path)
        return json.loads(given.read_text())


def facts_of(program):
    """What a program is besides its weights: its modules, and what is plain of each."""
    for name, module in program.named_modules():
        yield name, type(module).__qualname__
        for key, value in sorted(vars(module).items()):
            if isinstance(value, PLAIN) or dataclasses.is_dataclass(value):
                yield key, value
