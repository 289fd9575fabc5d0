"""What a run's files say of data, training and figures, one sentence a question.

Each function takes the run's files and returns None if they lack the answer. None raises,
whatever the files hold, and none repeats a path, a sample's id, a group or a reason: skipped inputs
and groups are counted only.
"""

from __future__ import annotations

import re

from moekit import ReportContext
from moekit_medical.report.plain import (
    at,
    command,
    count,
    digest,
    figure,
    scalar,
    table,
    text,
)

_HU = re.compile(r"(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?) HU")
_SET = re.compile(r"(?:candidates|dicom|nifti|medmnist) [0-9a-f]{12}")
_MACHINE = ("system", "architecture", "cpu_capability", "cpu_count", "threads", "cuda_device")


def task(context: ReportContext) -> str | None:
    """What is separated from what."""
    classes, positive = at(context.result, "classes"), text(at(context.result, "positive"))
    if not isinstance(classes, list | tuple) or len(classes) != 2:
        return f"a score for {positive}" if positive else None
    low, high = (text(name) for name in classes)
    word = f", reported as {positive}" if positive else ""
    return f"classification of single images: {high} against {low}{word}" if low and high else None


def technology(context: ReportContext) -> str | None:
    """The kind of method."""
    architecture = text(at(context.result, "backbone", "architecture"))
    if architecture is None:
        return None
    return f"deep learning, supervised: specialists on a frozen vision transformer ({architecture})"


def data_source(context: ReportContext) -> str | None:
    """Where the loader says that the data come from, and which set it was."""
    source = text(at(context.result, "data", "source"), limit=200)
    name = at(context.result, "dataset")
    known = f", set {name}" if isinstance(name, str) and _SET.fullmatch(name) else ""
    return f"the loader states: {source}{known}" if source else None


def data_licence(context: ReportContext) -> str | None:
    """Terms of the data, as the loader states them."""
    licence = text(at(context.result, "data", "licence"))
    return f"licence of the data: {licence}" if licence else None


def preprocessing(context: ReportContext) -> str | None:
    """From the image to the backbone's input."""
    size = count(at(context.record, "request", "recipe", "image_size"))
    if size is None:
        return None
    window = _HU.search(text(at(context.result, "data", "source"), limit=500) or "")
    stated = (
        f"window {window[1]} to {window[2]} HU, as the loader states"
        if window
        else "the loader states no HU window"
    )
    return (
        f"{stated}; resized to {size} x {size} pixels (bicubic), normalised by the backbone's mean "
        "and standard deviation"
    )


def skipped(context: ReportContext) -> str | None:
    """How many inputs were left out."""
    told = [
        f"{len(entries)} inputs skipped in {where}"
        for where, entries in (
            ("adapting", at(context.record, "skipped")),
            ("evaluating", at(context.result, "skipped")),
        )
        if isinstance(entries, list | tuple)
    ]
    return ", ".join(told) or None


def no_imputation(context: ReportContext) -> str | None:
    """What becomes of inputs that are missing."""
    told = skipped(context)
    return f"{told}; what cannot be read is left out, nothing is imputed" if told else None


def split(context: ReportContext) -> str | None:
    """How the splits were made."""
    note = text(at(context.result, "split_note"), limit=200)
    return f"splits: {note}" if note else None


def split_unit(context: ReportContext) -> str | None:
    """The level at which the splits are apart."""
    scored, checked = context.predictions, context.validation
    if scored is None:
        method = text(at(context.result, "interval", "method")) or ""
        return "whole groups, by the method of the interval" if "by group" in method else None
    if scored.groups is None:
        return "single images: the data name no groups, so one patient may lie in several splits"
    groups = set(scored.groups) - {""}
    lone = sum(not group for group in scored.groups)
    told = (
        f"whole groups (images that share a patient, study, series or file, as far as the data "
        f"say): {len(groups)} groups in the reported split"
    )
    if lone:
        told += f", and {lone} images without a group"
    if checked is not None and checked.groups is not None and _split_name(context) != "val":
        told += f"; {len(groups & set(checked.groups))} of these groups are also in validation"
    return told


def counts(context: ReportContext) -> str | None:
    """Images in each split, and how many of them are positive."""
    told = []
    for name in ("train", "val"):
        number = count(at(context.record, "images", name))
        if number is not None:
            told.append(f"{name} {number} images{_positives(context) if name == 'val' else ''}")
    number = count(at(context.result, "n"))
    if number is not None:
        positives = count(at(context.result, "positives"))
        among = f", {positives} positive" if positives else ""
        told.append(f"{_split_name(context)} {number} images scored{among}")
    total = count(at(context.record, "request", "samples"))
    if total is not None:
        told.append(f"{total} in the whole set")
    return "; ".join(told) or None


def seed(context: ReportContext) -> str | None:
    """The seed of the run, which also splits if the data bring no splits."""
    number = count(at(context.result, "seed"))
    return f"seed of the run {number}" if number is not None else None


def relation(context: ReportContext) -> str | None:
    """Whether the reported images come from the set that was trained on."""
    scored, trained = (at(context.result, "dataset"), at(context.record, "request", "dataset"))
    if not isinstance(scored, str) or not isinstance(trained, str):
        return None
    if scored != trained:
        return (
            "the data set that was evaluated has another name than the one trained on; the authors "
            "must say whether it is of another origin"
        )
    return (
        f"the reported split ({_split_name(context)}) is of the data set that was trained on, so "
        "this is internal testing; no external testing is in this run's files"
    )


def model(context: ReportContext) -> str | None:
    """Backbone and what was added to it."""
    architecture = text(at(context.result, "backbone", "architecture"))
    if architecture is None:
        return None
    experts, chosen = (count(at(context.result, "backbone", key)) for key in ("experts", "top_k"))
    mixture = f", {experts} experts a layer, {chosen} chosen a token" if experts and chosen else ""
    extra = at(context.record, "request", "changes", "experts")
    gate = text(at(context.record, "request", "changes", "gate"), limit=40)
    added = [text(name, limit=40) or "?" for name in extra] if isinstance(extra, list) else []
    changes = [f"experts added: {', '.join(added[:4])}"] if added else []
    changes += [f"gate: {gate}"] if gate else []
    return (
        f"{architecture} as a mixture of experts{mixture}; specialists of the kit medical and a "
        f"pooled head give one score an image{''.join(f'; {change}' for change in changes)}"
    )


def provenance(context: ReportContext) -> str | None:
    """Where the backbone's weights come from."""
    origin = text(at(context.result, "backbone", "origin"), limit=80)
    licence = text(at(context.result, "backbone", "licence"), limit=40)
    sha256 = digest(at(context.result, "backbone", "sha256"))
    if at(context.result, "backbone", "source") == "file":
        origin = "a file of weights"
    told = [f"from {origin}" if origin else "", f"SHA-256 {sha256}" if sha256 else ""]
    told.append(f"licence {licence}" if licence else "")
    known = ", ".join(filter(None, told))
    return f"pretrained backbone {known}" if known else None


def provenance_note(context: ReportContext) -> str | None:
    """What a reader must know of the backbone's weights."""
    note = text(at(context.result, "backbone", "note"))
    return f"note of the backbone: {note}" if note else None


def parameters(context: ReportContext) -> str | None:
    """How many parameters were trained, and how many were not."""
    trained, bare, frozen = (
        count(at(context.result, "parameters", key)) for key in ("trained", "baseline", "backbone")
    )
    told = [f"{trained} parameters trained" if trained else ""]
    told.append(f"{frozen} of the backbone frozen" if frozen else "")
    told.append(f"{bare} in the baseline's head" if bare else "")
    return ", ".join(filter(None, told)) or None


def initial_weights(context: ReportContext) -> str | None:
    """What the trained part begins with."""
    told = seed(context)
    return f"head drawn at random ({told}); specialists begin with zero output" if told else None


def recipe(context: ReportContext) -> str | None:
    """How the kit was trained."""
    numbers = table(context.record, "request", "recipe")
    told = [
        f"{text(name, limit=30)} {shown}"
        for name, value in numbers.items()
        if (shown := scalar(value)) is not None
    ]
    if not told:
        return None
    return f"AdamW, binary cross-entropy, warm-up then cosine decay; {', '.join(told[:24])}"


def selection(context: ReportContext) -> str | None:
    """Which weights were kept."""
    best, epochs = (
        count(at(context.result, "training", "kit", key)) for key in ("best_epoch", "epochs")
    )
    if best is None or epochs is None:
        return None
    return (
        f"averaged weights with the least validation loss: epoch {best} of the {epochs} that ran "
        "(0 is the start)"
    )


def threshold(context: ReportContext) -> str | None:
    """The operating threshold, and how it was chosen."""
    value = figure(at(context.result, "threshold", "value"), 4)
    if value is None:
        return None
    rule, where = (text(at(context.result, "threshold", key)) for key in ("rule", "split"))
    number = count(at(context.result, "threshold", "n"))
    told = f"operating threshold {value}"
    told += f", chosen by the rule {rule}" if rule else ""
    told += f" on the split {where}" if where else ""
    told += f" (n = {number})" if number else ""
    warning = "; the reported split is the one it was chosen on"
    return f"{told}{warning if where == at(context.result, 'split') else ''}"


def output(context: ReportContext) -> str | None:
    """What the model puts out."""
    told = threshold(context)
    return (
        f"a probability in [0, 1]; at or above the threshold is positive; {told}" if told else None
    )


def balance(context: ReportContext) -> str | None:
    """What is done about a rare class."""
    told = counts(context)
    return f"no class weights and no resampling in training; {told}" if told else None


def commands(context: ReportContext) -> str | None:
    """The command lines, without paths."""
    told = [command(at(source, "command")) for source in (context.record, context.result)]
    return "; ".join(f"`{line}`" for line in told if line) or None


def versions(context: ReportContext) -> str | None:
    """Versions of the software."""
    told = [
        f"{text(name, limit=30)} {shown}"
        for name, value in table(context.result, "versions").items()
        if (shown := text(value, limit=30))
    ]
    return ", ".join(told[:12]) or None


def plugins(context: ReportContext) -> str | None:
    """Distributions that took part, with the hashes of their manifests."""
    entries = at(context.result, "plugins")
    told = []
    for entry in entries if isinstance(entries, list) else []:
        name, version = (text(at(entry, key), limit=40) for key in ("distribution", "version"))
        sha256 = digest(at(entry, "manifest_sha256"))
        if name and version:
            told.append(f"{name} {version}{f' (manifest {sha256[:12]})' if sha256 else ''}")
    return f"plugins: {', '.join(told[:5])}" if told else None


def machine(context: ReportContext) -> str | None:
    """Hardware and arithmetic."""
    facts = table(context.result, "machine")
    told = [
        f"{key.replace('_', ' ')} {shown}"
        for key in _MACHINE
        if (shown := scalar(facts.get(key))) is not None
    ]
    arithmetic = text(at(context.record, "arithmetic"), limit=20)
    return ", ".join([*told, *([f"arithmetic {arithmetic}"] if arithmetic else [])]) or None


def weights(context: ReportContext) -> str | None:
    """Hash of the trained weights."""
    sha256 = digest(at(context.result, "weights", "kit_sha256"))
    return f"trained weights lie in the run folder, SHA-256 {sha256}" if sha256 else None


def _split_name(context: ReportContext) -> str:
    return text(at(context.result, "split"), limit=20) or "the reported split"


def _positives(context: ReportContext) -> str:
    checked = context.validation
    return "" if checked is None else f", {int(checked.labels.sum())} positive"
