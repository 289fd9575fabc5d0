"""The rules of dispatch on a CPU, timed next to other ones on each instruction set.

The same processor is measured as it is, and kept to AVX2. A rule is judged by the time of a layer
next to that under the rule that is in force: the median of the ratios within a round.
"""

import os
import subprocess

import pytest

from moekit.files import read_json
from moekit.testing.child import child_command, child_environment
from tests.benchmarks.task_runs import _ROOT

pytestmark = pytest.mark.bench

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
MOST_LOST = 0.1


@pytest.mark.parametrize(("name", "variables"), [("native", {}), ("avx2", AVX2)])
def test_no_other_rule_is_much_faster_than_the_one_in_force(tmp_path, record, name, variables):
    environment = child_environment(**variables, OMP_NUM_THREADS="1")
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), environment["PYTHONPATH"]])
    out = tmp_path / "rules.json"
    command = child_command("-m", "tests.benchmarks.dispatch_rules", str(out))
    subprocess.run(command, env=environment, check=True)
    found = read_json(out)
    record(f"dispatch_rules_{name}", {**found, "load": os.getloadavg()[0]})
    assert all(row["ratio"] > 1 - MOST_LOST for row in found["rows"])
