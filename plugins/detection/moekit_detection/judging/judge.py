"""How found objects are judged."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from moekit import Judge, TaskContext
from moekit_detection.answers import decode
from moekit_detection.judging.outcome import outcome
from moekit_detection.judging.points import RULES, check_rule, choose_point
from moekit_detection.judging.quantised import quantised
from moekit_detection.judging.read import read_results
from moekit_detection.judging.storage import load_tallies, save_tallies
from moekit_detection.judging.summary import compare, complete, facts
from moekit_detection.judging.tally import DetectTallier, DetectTally, check_tallies


def _words(context: TaskContext, point: Any) -> dict[str, Any]:
    del context
    return {"point": None if point is None else point.as_json()}


def _reference(tally: DetectTally) -> np.ndarray:
    """(N,) the highest score of each picture, by which lines are watched; 0 if nothing is found."""
    matches = tally.matches
    top_I = np.zeros(matches.images)
    np.maximum.at(top_I, matches.image_D, matches.score_D)
    top_N: np.ndarray = top_I[tally.rows_N]
    return top_N


JUDGE = Judge(
    tallier=functools.partial(DetectTallier, decode=decode),
    save=save_tallies,
    load=load_tallies,
    rules=RULES,
    choose=choose_point,
    check_rule=check_rule,
    words=_words,
    facts=facts,
    outcome=outcome,
    check=check_tallies,
    compare=compare,
    quantised=quantised,
    complete=complete,
    reference=_reference,
    read=read_results,
    lacking={"thresholds_C": "no threshold was chosen for each class"},
)
