"""The section that walks through TRIPOD+AI, the guideline for reports of prediction models.

Collins et al. 2024, "TRIPOD+AI statement: updated guidance for reporting clinical prediction models
that use regression or machine learning methods", BMJ 385:e078378: 27 items, 52 with their parts.
What the items ask for is said in other words.
"""

from __future__ import annotations

from moekit import ReportContext, ReportSection, ReportSectionSpec
from moekit_medical.report import facts, figures
from moekit_medical.report.checklist import checklist_section, item, part

_SOURCE = "Collins et al. 2024, BMJ 385:e078378"

_FRONT = (
    *part(
        "title and abstract",
        item(
            "1",
            "that a model is developed or tested, for whom, and what it predicts",
            facts.task,
            rest="the title and the target population",
        ),
        item("2", "an abstract by its own checklist"),
    ),
    *part(
        "introduction",
        item("3a", "the clinical problem, and models that exist"),
        item("3b", "for whom the model is, and who would use it"),
        item("3c", "known inequalities in health between groups"),
        item("4", "aims, and whether a model is developed, tested or both"),
    ),
)

_DATA = (
    *part(
        "methods, data and participants",
        item(
            "5a",
            "sources of the data",
            facts.data_source,
            facts.data_licence,
            rest="why these data, and whom they represent",
        ),
        item("5b", "dates between which the data were collected"),
        item("6a", "setting, number and place of centres"),
        item("6b", "which participants were eligible"),
        item("6c", "treatments, and how they were dealt with"),
        item(
            "7",
            "preparation and checks of the data",
            facts.preprocessing,
            facts.skipped,
            rest="whether it was alike in all sociodemographic groups",
        ),
    ),
    *part(
        "methods, outcome and predictors",
        item("8a", "what is predicted, over what time, and how it was determined"),
        item("8b", "who judged the outcome"),
        item("8c", "whether the judges were blinded"),
        item("9a", "how predictors were chosen", figures.predictors),
        item(
            "9b",
            "what each predictor is, and how it was measured",
            facts.preprocessing,
            rest="how and when the images were acquired",
        ),
        item("9c", "who judged predictors that need judgement"),
    ),
    *part(
        "methods, sample size and missing data",
        item("10", "how the number of participants was reached"),
        item(
            "11",
            "what became of missing data",
            facts.no_imputation,
            rest="data that were missing before the files were read",
        ),
    ),
)

_ANALYSIS = (
    *part(
        "methods, analysis",
        item("12a", "how data were used and split", facts.split, facts.split_unit, facts.seed),
        item("12b", "how predictors entered the model", facts.preprocessing),
        item(
            "12c",
            "kind of model, how it was built and checked",
            facts.technology,
            facts.selection,
            figures.answering,
            facts.recipe,
        ),
        item(
            "12d",
            "differences between clusters such as hospitals",
            figures.interval_method,
            rest="any analysis by centre",
        ),
        item(
            "12e",
            "measures of performance, and of comparisons",
            figures.metric_names,
            figures.interval_method,
            figures.bootstrap_seed,
            figures.comparison,
        ),
        item("12f", "whether the model was updated after testing", figures.updating),
        item("12g", "how predictions were computed", facts.commands, facts.machine),
        item("13", "what was done about a rare outcome", facts.balance),
        item("14", "what was done for fairness"),
        item(
            "15",
            "what the model puts out, and thresholds",
            figures.guarantee,
            facts.output,
        ),
        item(
            "16",
            "how development and test data differ",
            facts.relation,
            rest="differences of setting, eligibility, outcome and predictors",
        ),
        item("17", "ethical approval and consent"),
    ),
)

_OPENNESS = (
    *part(
        "open science",
        item("18a", "funding, and the part of those who gave it"),
        item("18b", "conflicts of interest"),
        item("18c", "where the protocol is"),
        item("18d", "registration"),
        item(
            "18e",
            "whether the data can be had",
            facts.data_source,
            facts.data_licence,
            rest="where the data can be had",
        ),
        item(
            "18f",
            "whether the code can be had",
            facts.versions,
            facts.plugins,
            rest="where the code can be had",
        ),
    ),
    *part("patient and public involvement", item("19", "the part of patients and the public")),
)

_RESULTS = (
    *part(
        "results",
        item(
            "20a",
            "the flow of participants, with and without the outcome",
            facts.counts,
            facts.skipped,
            rest="the flow of participants up to the files",
        ),
        item("20b", "who the participants are, overall and in each source"),
        item(
            "20c",
            "test data compared with development data",
            facts.counts,
            rest="demographics and predictors in both",
        ),
        item("21", "participants and outcomes in each analysis", facts.counts),
        item(
            "22",
            "the model in full, so that others can use it",
            facts.weights,
            facts.provenance,
            facts.model,
            rest="where the weights can be had, and on which terms",
        ),
        item(
            "23a",
            "performance with intervals, also in subgroups",
            figures.metrics,
            figures.subgroups,
        ),
        item("23b", "performance across clusters", figures.no_analysis),
        item("24", "results of updating", figures.updating),
    ),
    *part(
        "discussion",
        item("25", "what the results mean, fairness included"),
        item("26", "weaknesses of the study"),
        item("27a", "how poor or missing input is met in use"),
        item("27b", "what users must do and know"),
        item("27c", "what research comes next"),
    ),
)

TRIPOD_ITEMS = (*_FRONT, *_DATA, *_ANALYSIS, *_OPENNESS, *_RESULTS)


def render_tripod(context: ReportContext) -> ReportSection:
    """The items of TRIPOD+AI with their parts, each with what the run's files answer."""
    return checklist_section("TRIPOD+AI", _SOURCE, TRIPOD_ITEMS, context)


TRIPOD = ReportSectionSpec(
    name="tripod_ai",
    kits=("medical",),
    render=render_tripod,
    summary="the items of TRIPOD+AI, answered as far as the run's files can",
)
