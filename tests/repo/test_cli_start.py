"""The command starts fast and imports nothing heavy before it must."""

import subprocess
import sys

import click
import pytest

START = "import sys; sys.argv[0] = 'moekit'; from moekit.cli.main import main; "


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_help_takes_less_than_a_third_of_a_second(processor_time):
    times = [processor_time(START + "main(['--help'])")[0] for _ in range(5)]
    floors = [processor_time("import click")[0] for _ in range(5)]
    # On a machine where the library of commands takes as long, it is the measure.
    assert min(times) < max(0.3, 2.5 * min(floors))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins", "list"], ["kits"], ["tasks"], ["--version"]]
)
def test_lists_and_help_import_neither_torch_nor_a_plugin(arguments):
    code = (
        START + "import atexit; atexit.register(lambda: print('LOADED', *sorted(sys.modules))); "
        f"main({arguments!r})"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert "moekit.cli.main" in loaded
    assert not {"torch", "timm", "numpy", "moekit_industrial", "moekit.builtin.hooks"} & set(loaded)
    if arguments == ["--help"]:
        assert "pydantic" not in loaded


def test_what_predict_imports_is_neither_searched_for_cycles_nor_more_than_it_needs():
    code = (
        "import gc, sys; from moekit.cli.imports import quick_imports\n"
        "with quick_imports():\n"
        "    assert not gc.isenabled()\n"
        "    import moekit.jobs.predict\n"
        "from moekit.plugins.registry import Registry\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "for kit in ('industrial', 'finegrained', 'scenes'): Registry().kit(kit)\n"
        "for task in ('score', 'classify', 'segment'): Registry().task(task)\n"
        "with quick_imports(): assert gc.isenabled()\n"
        "unused = {'scipy.stats', 'torchmetrics', 'lightning', 'sklearn', 'torch._dynamo'}\n"
        "print(unused & set(sys.modules))"
    )
    done = run(code)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_the_compiler_of_torch_comes_when_it_is_asked_for():
    code = (
        "import sys; from moekit.cli.imports import quick_imports\n"
        "with quick_imports(): import timm\n"
        "import torch\n"
        "assert torch.compiler.disable.__module__ == 'torch.compiler'\n"
        "assert not {'torch._dynamo', 'torch._dynamo.utils'} & set(sys.modules)\n"
        "from timm.models.naflexvit import NaFlexRopeIterator\n"
        "from torchvision.ops import roi_align\n"
        "boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]\n"
        "assert roi_align(torch.ones(1, 1, 8, 8), boxes, 2).eq(1).all()\n"
        "assert sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu') in (0, 1)\n"
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2)).eq(2).all()\n"
        "methods = vars(NaFlexRopeIterator).values()\n"
        "print(sum(hasattr(one, '__wrapped__') for one in methods))"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


FLAGS = {
    "demo": "--data --debug --device --full --json --out --seed --weights",
    "adapt": "--also-data --architecture --bits --budget --cache-gib --data --data-licence "
    "--debug --device --devices --duplicates --epochs --expert --form --from --gate "
    "--group-near-duplicates --head-members --image-size --json --metric --out --placement "
    "--precision --resume --seed --task --threshold-rule --tile --tile-flat "
    "--token-block --token-gate --token-share --token-window --top-k --views --weights",
    "pretrain": "--architecture --batch-size --blocks --cache-gib --data --data-licence --debug "
    "--device --devices --epochs --expert --expert-axis --form --gate --image-size --json "
    "--limit --objective --out --precision --rate --resume --seed --task --top-k --twin --views "
    "--weights",
    "merge": "--accept-anyway --batch-size --by --data --data-licence --debug --device --form "
    "--json --leave-out-unfit --out --threshold-rule --weigh --weights",
    "evaluate": "--batch-size --data --data-licence --debug --device --duplicates --form --from "
    "--json --metric --no-near-duplicates --precision --run --seed --split --threshold-rule --use "
    "--weights",
    "export": "--allow-slower --batch-size --data --debug --form --format --int8 --json "
    "--max-loss --out --prefix --run --split --use --weights",
    "predict": "--backend --batch-size --debug --device --form --json --out --precision --review "
    "--run --threshold-rule --use --weights",
    "watch": "--backend --batch-size --debug --device --form --golden --golden-every "
    "--golden-tolerance --idle --json --keep --once --out --overlays --precision --queue "
    "--reference --review --run --settle --threshold-rule --tries --use "
    "--weights",
    "serve": "--backend --batch-size --camera --camera-kit --corrections --cors --deadline --debug "
    "--device --form --gather --host --json --most-images --most-kits --most-mib --most-pixels "
    "--port --queue --review-list --tls-cert --tls-key --token-file --unprotected --weights",
    "client": "--debug --json --kit --token-file",
    "doctor": "--debug --json --weights",
    "embed": "--batch-size --debug --device --fit --image-size --json --out --precision --top-k "
    "--weights",
    "verify": "--backend --debug --device --form --json --kit --run --tolerance --weights",
    "next": "--batch-size --corrections --data --debug --device --form --json --most --out "
    "--weights",
    "report": "--debug --json",
    "import": "--by --corrections --debug --images --json --kit --run --unmarked",
    "kits": "--debug --json --long",
    "datasets": "--debug --json --long",
    "metrics": "--debug --json --long",
    "experts": "--debug --json --long",
    "gates": "--debug --json --long",
    "tasks": "--debug --json --long",
    "plugins list": "--debug --json",
    "plugins info": "--debug --json",
    "plugins enable": "--debug",
    "plugins disable": "--debug",
    "plugins lock": "--debug --json --out",
    "plugins verify": "--debug --json",
    "plugins check": "--debug --expect-failure --json",
    "plugins doctor": "--debug --json",
    "plugins new": "--debug --json --kind --out",
    "bench measure": "--debug --dtype --json --kits --most-kits --out --run --seconds --threads "
    "--token-block --token-share --token-side --token-window --weights",
    "bench serve": "--clients --debug --images --json --kit --out --rate --seconds --token-file "
    "--warm-up",
    "anomalib": "--architecture --batch-size --bits --data --debug --device --image-size --json "
    "--max-steps --out --presample --seed --set --threshold-rule --weights",
    "deidentify": "--debug --json --out --salt-file",
    "backbone info": "--architecture --debug --form --json --weights",
    "backbone carve": "--architecture --compare --debug --device --image-size --images --json "
    "--limit --method --out --rank --seed --top-k --weights",
    "backbone recover": "--batch-size --debug --device --image-size --images --json --limit --out "
    "--passes --rate --resume --seed --steps --weights",
    "backbone plan": "--batch-size --blocks --debug --expert-axis --experts --gpus --heads "
    "--hidden --image-size --json --patch --precision --recompute --top-k --twin --width",
    "backbone upcycle": "--architecture --debug --experts --json --noise --out --seed --slices "
    "--weights",
}


def commands(group, prefix=""):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def test_commands_and_flags_are_frozen():
    from moekit.cli.main import cli

    found = {
        name: " ".join(
            sorted(
                option
                for parameter in command.params
                if isinstance(parameter, click.Option)
                for option in parameter.opts
            )
        )
        for name, command in commands(cli)
    }
    assert found == FLAGS


def test_help_shows_each_command_once_in_a_section():
    from moekit.cli.main import _COMMANDS, _SECTIONS, _SUMMARIES

    shown = [name for names in _SECTIONS.values() for name in names]
    assert sorted(shown) == sorted(_COMMANDS) == sorted(_SUMMARIES)
