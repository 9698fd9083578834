"""The verdict: whether the loss follows from the count, and whether the count grows as it should.

It only assembles: statistics come from `statistics`, claims from `count` and `growth`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import xarray as xr

from quanta.analysis import axes
from quanta.analysis.learned.times import TAU
from quanta.analysis.verdict.claims import Claim, settle
from quanta.analysis.verdict.count import claim_count, claim_drift, claim_drops
from quanta.analysis.verdict.exponents import Exponent, exponents
from quanta.analysis.verdict.growth import claim_beta, claim_gamma, claim_order
from quanta.analysis.verdict.statistics import TAUS, AtTau, Statistics, measure
from quanta.analysis.verdict.tables import Parts, sum_up_budgets
from quanta.tasks.config import one_line
from quanta.tasks.numerics import own_errors

SCHEMA = 2
"""Version of the JSON that `Verdict.to_dict` returns."""

Outcome = Literal["supported", "rejected", "inconclusive"]

QUESTIONS = {
    "count": "Does the loss follow from the count of subtasks learned?",
    "growth": "Does the count grow as the hypothesis says?",
}


@dataclass(frozen=True)
class Question:
    """One of the two questions and its answer.

    Attributes
    ----------
    text : str
    outcome : {"supported", "rejected", "inconclusive"}
    claims : tuple of Claim
        Along every axis there is.
    why : str
        One sentence.
    """

    text: str
    outcome: Outcome
    claims: tuple[Claim, ...]
    why: str

    @property
    def needs(self) -> list[str]:
        """What would decide it, where it is not decided."""
        if self.outcome != "inconclusive":
            return []
        asked: dict[str, list[str]] = {}
        for claim in self.claims:
            if claim.needs:
                asked.setdefault(claim.needs, []).append(f"{claim.name} along {claim.axis}")
        return [f"{needs} ({', '.join(claims)})" for needs, claims in asked.items()]


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    Attributes
    ----------
    study : str or None
        Name of the study, or what its curves say of where they come from.
    outcome : str
        "supported" if both questions are, "rejected" if one is, else "inconclusive".
    questions : dict of str to Question
        "count" and "growth".
    budget : dict of str to Parts
        By axis: the exponent of the mean loss and what each part of the loss carries of it.
    exponents : dict of str to Exponent
    settings : dict
        What was judged and how.
    notes : tuple of str
        What a reader has to know of the data.
    statistics : Statistics
        What all of it rests on; for tables and figures.
    """

    study: str | None
    outcome: Outcome
    questions: dict[str, Question]
    budget: dict[str, Parts]
    exponents: dict[str, Exponent]
    settings: dict[str, Any]
    notes: tuple[str, ...]
    statistics: Statistics = field(compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into verdict.json: plain types, None for what is not known or not finite."""
        questions = {}
        for name, question in self.questions.items():
            along: dict[str, list[dict[str, Any]]] = {}
            for claim in question.claims:
                along.setdefault(claim.axis, []).append(_claim_record(claim))
            questions[name] = {
                "question": question.text,
                "outcome": question.outcome,
                "why": question.why,
                "needs": question.needs,
                "axes": along,
            }
        record = {
            "schema": SCHEMA,
            "study": self.study,
            "outcome": self.outcome,
            "settings": self.settings,
            "notes": list(self.notes),
            "questions": questions,
            "budget": {name: asdict(parts) for name, parts in self.budget.items()},
            "exponents": {name: asdict(exponent) for name, exponent in self.exponents.items()},
        }
        found: dict[str, Any] = plain(record)
        return found


@own_errors()
def judge(
    curves: xr.Dataset,
    *,
    tau: float = TAU,
    confidence: float = 0.9,
    taus: Sequence[float] = TAUS,
    seed: int = 0,
) -> Verdict:
    """Judge a slice: whether its loss follows from the count, and whether the count grows as it should.

    Parameters
    ----------
    curves : Dataset
        A slice (see `quanta.analysis.select`).
    tau : float, default 0.1
        Share of chance below which a subtask is learned.
    confidence : float, default 0.9
        Nominal coverage of the intervals.
    taus : sequence of float
        Other shares at which a question must not have the opposite answer; see `answer`.
    seed : int, default 0
        Of the simulations behind what the theory expects.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If `curves` is not a slice, or an argument is out of its range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence!r}")
    statistics = measure(curves, tau, taus)
    questions = {name: answer(statistics, name, confidence) for name in QUESTIONS}
    left, alpha = statistics.base.left, _named_alpha(statistics)
    return Verdict(
        study=study_name(curves.attrs.get("study")),
        outcome=_join([question.outcome for question in questions.values()]),
        questions=questions,
        budget=sum_up_budgets(statistics, confidence),
        exponents=exponents(statistics, confidence, seed),
        settings={
            "alpha": "uniform" if alpha == -1 else alpha,
            "n_train": ["online" if math.isinf(n) else int(n) for n in left.n_train],
            "n_subtasks": left.frequency.size,
            "n_seeds": left.seed.size,
            "chance": {"bits": float(left.chance.mean()), "source": left.chance_source},
            "tau": tau,
            "confidence": confidence,
            "seed": seed,
        },
        notes=tuple(_notes(statistics)),
        statistics=statistics,
    )


def answer(statistics: Statistics, name: str, confidence: float) -> Question:
    """Answer one question.

    Rejected where a claim fails; supported where what has to hold does; else inconclusive. An answer that is
    the opposite at another τ is none: then it is inconclusive too. A τ below the floor on which learned
    subtasks come to rest asks something else, and is passed over: one at which less than half as many count
    as learned.

    Parameters
    ----------
    statistics : Statistics
    name : {"count", "growth"}
    confidence : float

    Returns
    -------
    Question
    """
    claims = claims_of(statistics.here, name, confidence)
    outcome = outcome_of(claims)
    opposite = {"supported": "rejected", "rejected": "supported"}.get(outcome)
    against = [
        one.tau
        for one in statistics.by_tau.values()
        if opposite is not None
        and 2 * one.n_learned[:, -1].sum() >= statistics.here.n_learned[:, -1].sum()
        and outcome_of(claims_of(one, name, confidence)) == opposite
    ]
    if against:
        why = f"At τ = {statistics.tau:g} it would be {outcome}, at τ = {against[0]:g} {opposite}."
        return Question(QUESTIONS[name], "inconclusive", claims, why)
    return Question(QUESTIONS[name], outcome, claims, _reason(outcome, claims))


def claims_of(here: AtTau, name: str, confidence: float) -> tuple[Claim, ...]:
    """Make the claims of a question at one τ."""
    along = [one.axis for one in here.base.traces.values() if one.axis.dim != "step"]
    if name == "count":
        drops = claim_drops(here, confidence, beside=bool(along))
        counts = [claim_count(axis, here, here.budgets[axis.name], drops, confidence) for axis in along]
        drifts = [claim_drift(axis, here, confidence) for axis in along]
        return settle([*counts, *drifts, drops], confidence)
    claims = [claim_order(here, confidence)]
    claims.append(claim_beta(axes.S, here, confidence))
    claims += [claim_beta(axis, here, confidence) for axis in along if axis.name in here.time_laws]
    if axes.N in along:
        claims.append(claim_gamma(here, confidence))
    return settle(claims, confidence)


def outcome_of(claims: Sequence[Claim]) -> Outcome:
    """Sum up the claims of a question."""
    if any(claim.holds is False for claim in claims):
        return "rejected"
    # Along N or D: along the other there may be nothing to explain.
    along = {claim.axis: True for claim in claims if claim.name == "count"}
    for claim in claims:
        if claim.axis in along and claim.name in ("count", "drift"):
            along[claim.axis] &= claim.holds is True
    others = [claim for claim in claims if claim.name not in ("count", "drift") and claim.asked]
    supported = all(claim.holds for claim in others) and (not along or any(along.values()))
    return "supported" if supported else "inconclusive"


def _join(outcomes: Sequence[Outcome]) -> Outcome:
    if "rejected" in outcomes:
        return "rejected"
    return "supported" if all(outcome == "supported" for outcome in outcomes) else "inconclusive"


def _reason(outcome: Outcome, claims: Sequence[Claim]) -> str:
    kind = {"supported": True, "rejected": False, "inconclusive": None}[outcome]
    named = [f"{c.name} along {c.axis}" for c in claims if c.holds is kind and (c.asked or kind is not None)]
    verb = {"supported": "holds", "rejected": "fails", "inconclusive": "is unclear"}[outcome]
    return "; ".join(f"{one} {verb}" for one in named) + "."


def _named_alpha(statistics: Statistics) -> float:
    """α as the curves name it, be their frequencies of it or not."""
    return float(statistics.base.curves["alpha"].values.item())


def _notes(statistics: Statistics) -> list[str]:
    left = statistics.base.left
    left_out = statistics.base.curves.attrs.get("left_out")
    notes = [f"left out: {left_out}"] if left_out else []
    alpha = _named_alpha(statistics)
    if math.isnan(statistics.base.alpha) and not math.isnan(alpha):
        law = "equal" if alpha == -1 else f"∝ (k + offset)^-{1 + alpha:g}"
        notes.append(f"frequencies are not {law}, as α = {alpha:g} says, so that nothing is expected from it")
    if left.chance_source == "measured":
        notes.append(f"chance was measured where subtasks stay unlearned: {left.chance[0]:.3g} bits")
    if left.chance_source == "assumed":
        notes.append(
            "chance is not known and was taken as 1 bit: too few subtasks rest unlearned to measure it"
        )
    start = float((left.start * left.chance).mean())
    if _is_ln2(start) and not (left.chance_source == "given" and _is_ln2(float(left.chance.mean()))):
        notes.append(f"losses begin at {start:.3g}, which is ln 2: are they in nats, not bits?")
    relapse = float(left.relapse[-1].mean())
    if relapse > 0.05:
        notes.append(
            f"measured losses lie {relapse:.0%} above the monotone ones: much is forgotten, or noisy"
        )
    return notes


def _is_ln2(loss: float) -> bool:
    return abs(loss / math.log(2) - 1) < 0.03


def _claim_record(claim: Claim) -> dict[str, Any]:
    known = claim.lower is not None and claim.upper is not None
    return {
        "name": claim.name,
        "statistic": claim.statistic,
        "interval": [claim.lower, claim.upper] if known else None,
        "window": list(claim.window),
        "holds": claim.holds,
        "asked": claim.asked,
        "why": claim.why,
        "needs": claim.needs,
    }


def plain(value: Any) -> Any:
    """Put None for numbers that JSON does not have, at any depth."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def study_name(study: str | None) -> str | None:
    """Return the name in the JSON of a study; text that is something else is its own name."""
    if study is None:
        return None
    try:
        spec = json.loads(study)
    except (ValueError, RecursionError):  # no JSON, or some that goes on and on
        return one_line(study)
    return one_line(spec["name"] if isinstance(spec, dict) and "name" in spec else study)
