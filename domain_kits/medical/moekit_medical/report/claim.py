"""The section that walks through CLAIM, the checklist for studies of AI in medical imaging.

Tejani et al. 2024, "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update",
Radiology: Artificial Intelligence 6(4):e240300. What the items ask for is said in other words.
"""

from __future__ import annotations

from moekit import ReportContext, ReportSection, ReportSectionSpec
from moekit_medical.report import facts, figures
from moekit_medical.report.checklist import checklist_section, item, part

_SOURCE = "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300"

_FRONT = (
    *part(
        "title and abstract",
        item("1", "the kind of AI, named", facts.technology, rest="a title that names it"),
        item("2", "design, methods, results and conclusions in short"),
    ),
    *part(
        "introduction",
        item("3", "scientific and clinical setting, and what the AI is for"),
        item("4", "aims and hypotheses"),
    ),
    *part(
        "methods, study design",
        item("5", "whether cases were collected forwards or looked back on"),
        item("6", "what kind of study it is", facts.task, rest="the goal of the study"),
    ),
)

_DATA = (
    *part(
        "methods, data",
        item(
            "7",
            "where the data come from",
            facts.data_source,
            facts.data_licence,
            rest="centres and dates",
        ),
        item("8", "which patients and images were let in or kept out"),
        item(
            "9",
            "what was done to the images first",
            facts.preprocessing,
            rest="what was done before the files were read",
        ),
        item(
            "10",
            "which parts of the data were used",
            facts.skipped,
            rest="any choice of cases or regions before the files were read",
        ),
        item("11", "how identities were removed from the data"),
        item(
            "12",
            "what became of missing data",
            facts.no_imputation,
            rest="data that were missing before the files were read",
        ),
        item("13", "scanners and how images were acquired"),
    ),
    *part(
        "methods, reference standard",
        item("14", "how the truth of each label was established"),
        item("15", "why that reference was chosen"),
        item("16", "who labelled, and with what training"),
        item("17", "how the test cases were labelled"),
        item("18", "how far readers agree with each other and with themselves"),
    ),
    *part(
        "methods, data partitions",
        item("19", "how cases came into each split", facts.split, facts.counts, facts.seed),
        item("20", "at which level the splits share nothing", facts.split_unit),
    ),
    *part("methods, testing data", item("21", "planned number of test cases, and why")),
)

_MODEL = (
    *part(
        "methods, model",
        item("22", "the model in full", facts.model, facts.parameters),
        item("23", "software with versions", facts.versions, facts.plugins, facts.machine),
        item(
            "24",
            "what the parameters start from",
            facts.initial_weights,
            facts.provenance,
            facts.provenance_note,
        ),
    ),
    *part(
        "methods, training",
        item("25", "how it was trained", facts.recipe),
        item("26", "how the final model was picked", facts.selection, figures.answering),
        item("27", "models that are combined", figures.ensemble),
    ),
    *part(
        "methods, evaluation",
        item(
            "28",
            "measures of performance",
            figures.guarantee,
            facts.threshold,
            figures.metric_names,
        ),
        item(
            "29",
            "uncertainty and tests of significance",
            figures.interval_method,
            figures.comparison,
            figures.bootstrap_seed,
        ),
        item("30", "whether results hold under other conditions", figures.no_analysis),
        item(
            "31",
            "ways to explain a decision",
            figures.explanation,
            rest="whether the maps were checked against anything",
        ),
        item("32", "tests on data of the same origin", facts.counts),
        item("33", "tests on data of another origin", facts.relation),
        item("34", "registration of a clinical trial"),
    ),
)

_RESULTS = (
    *part(
        "results, data",
        item(
            "35",
            "patients or examinations that were used and left out",
            facts.counts,
            facts.skipped,
            rest="the flow of patients up to the files",
        ),
        item(
            "36",
            "who the patients of each split are",
            facts.counts,
            rest="age, sex and clinical features in each split",
        ),
    ),
    *part(
        "results, model performance",
        item("37", "figures with their uncertainty", figures.metrics, figures.comparison),
        item("38", "diagnostic accuracy and its precision", figures.diagnostic, facts.threshold),
        item(
            "39",
            "what goes wrong, and in which cases",
            figures.errors,
            rest="what the errors mean for patients",
        ),
    ),
    *part(
        "discussion",
        item("40", "weaknesses of the study"),
        item("41", "what follows for practice"),
    ),
    *part(
        "other information",
        item("42", "the protocol, or further technical detail", facts.commands, rest="a protocol"),
        item(
            "43",
            "whether software, model and data can be had",
            facts.plugins,
            facts.weights,
            facts.data_licence,
            rest="where code, weights and data can be had",
        ),
        item("44", "money and other support, and the part of those who gave it"),
    ),
)

CLAIM_ITEMS = (*_FRONT, *_DATA, *_MODEL, *_RESULTS)


def render_claim(context: ReportContext) -> ReportSection:
    """The 44 items of CLAIM 2024, each with what the run's files answer."""
    return checklist_section("CLAIM 2024", _SOURCE, CLAIM_ITEMS, context)


CLAIM = ReportSectionSpec(
    name="claim_2024",
    kits=("medical",),
    render=render_claim,
    summary="the items of CLAIM 2024, answered as far as the run's files can",
)
