"""What every column of the tables beside a verdict means, for whoever reads them with other tools."""

from collections.abc import Mapping

import pandas as pd

from quanta.analysis.learned.budget import PARTS

_KEYS = {
    "axis": ("what is varied: N parameters, S steps, D training examples", "name"),
    "seed": ("seed of the network", "label"),
    "width": ("hidden units a layer; empty for a statistic between widths", "hidden units"),
    "n_parameters": ("number N of parameters of one network", "parameters"),
    "subtask": ("the subtask's rank by frequency, counted from 1: the most frequent", "rank"),
    "frequency": ("probability p_k that a sample is of the subtask", "1"),
}


def _interval(name: str, meaning: str, unit: str) -> dict[str, tuple[str, str]]:
    """Describe an estimate and the ends of its interval over seeds."""
    ends = {f"{name}_{end}": (f"{end} end of the interval of {name} over seeds", unit) for end in _ENDS}
    return {name: (f"{meaning}; mean over seeds", unit), **ends}


_ENDS = ("lower", "upper")

_PARTS = {
    "count": "what is not learned",
    "rest": "what is left in what is learned",
    "falling": "what half-learned subtasks that still fall take off chance, negative",
    "stuck": "what half-learned subtasks that do not fall take off chance, negative",
    "drift": "what subtasks of which nothing is learned are off chance",
}

_TIME_LAW = {
    **_interval("beta", "β in S_k ∝ p_k^-β of all ranks learned, later than the last where not", "1"),
    **_interval("first", "β of the first half of the ranks learned", "1"),
    **_interval("later", "β of the later half of the ranks learned", "1"),
    **{
        name: described
        for q in range(1, 5)
        for name, described in _interval(
            f"quarter_{q}", f"β of quarter {q} of the ranks learned", "1"
        ).items()
    },
    "sigma": ("standard deviation of the natural logarithm of learning times about the law", "1"),
}

COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "budget": {
        "axis": _KEYS["axis"],
        "part": ("part of the mean loss, a column of loss_parts; all: their sum", "name"),
        **_interval("exponent", "what the part carries of the exponent of the mean loss", "1"),
        **_interval("share", "the same as a share of the exponent; empty for all", "1"),
        "share_of_ends": ("the share between the first and the last place alone; mean over seeds", "1"),
    },
    "loss_parts": {
        "axis": _KEYS["axis"],
        "x": ("place on the axis", "parameters, steps or training examples, by axis"),
        "seed": _KEYS["seed"],
        "loss": ("mean loss, the sum of the parts", "bit"),
        **{part: (f"part of the mean loss: {_PARTS[part]}", "bit") for part in PARTS},
    },
    "sensitivity": {
        "choice": (
            "what is chosen otherwise: tau, falling (the share lost since half the steps from which a "
            "half-learned subtask counts as falling) or weights",
            "name",
        ),
        "value": ("how it is chosen", "share of chance for tau, share for falling, else a name"),
        "n_learned": ("subtasks that the widest networks learned; mean over seeds", "subtasks"),
        **_interval("beta", "β in S_k ∝ p_k^-β of the widest", "1"),
        **_interval("gamma", "γ in n ∝ N^γ", "1"),
        **_interval("count", "share of the exponent along N that the count alone carries", "1"),
        **_interval("with_falling", "the same with all that still falls", "1"),
    },
    "learning_times": {
        "width": _KEYS["width"],
        "n_parameters": _KEYS["n_parameters"],
        **_TIME_LAW,
        "beta_type_one": (
            "β if what is not learned were later than the last evaluation; mean over seeds",
            "1",
        ),
    },
    "drops": {
        "metric": ("what is looked at: loss, accuracy or brier", "name"),
        **_interval(
            "share", "largest share of its own fall within a factor 10 of steps, of all subtasks", "1"
        ),
        **_interval("factor", "factor in steps from 90 to 10 % of its own fall, median of subtasks", "1"),
        "resolved": ("share of the fall that the evaluations place well enough; mean over seeds", "1"),
    },
    "laws": {
        "law": ("law of the learning times, S_k ∝ p_k^-β", "name"),
        "beta": ("its β", "1"),
        "curvature": ("by how much β grows while the natural logarithm of frequency grows by 1", "1"),
        "log_likelihood": ("natural logarithm of its likelihood; mean over seeds", "nat"),
        "behind": ("how much likelier the first law is; mean over seeds", "nat"),
        "lower": ("lower end of the interval of behind over seeds", "nat"),
        "upper": ("upper end of the interval of behind over seeds", "nat"),
    },
    "models": {
        "axis": _KEYS["axis"],
        "model": ("curve of the mean loss along the axis", "name"),
        "forecast_error": ("root mean square of log loss less log forecast at the points held out", "nat"),
        "n_held_out": ("points held out", "points"),
        "score": ("mean squared error of log loss in a seed left out; mean over seeds", "nat^2"),
        "difference": ("the score less the smallest of the axis", "nat^2"),
        "difference_stderr": ("standard error over seeds of the difference", "nat^2"),
        "message": ("how the curve was fitted, or why not", "text"),
        "parameters": ("constants of the curve, of losses in bits", "JSON"),
    },
    "widths": {
        "width": _KEYS["width"],
        "n_parameters": _KEYS["n_parameters"],
        "n_full": ("networks, one a seed, that learned nothing more when more was due", "networks"),
        **_interval("n_learned", "subtasks learned by the end", "subtasks"),
        **_interval("concordance", "Harrell's C of learning time with rank", "1"),
        **_interval("mean_loss", "monotone mean loss at the end", "bit"),
    },
    "networks": {
        "seed": _KEYS["seed"],
        "width": _KEYS["width"],
        "n_parameters": _KEYS["n_parameters"],
        "mean_loss": ("monotone mean loss at the end", "bit"),
        "n_learned": ("subtasks learned by the end", "subtasks"),
        "is_full": ("whether it learned nothing more when more was due", "True or False"),
        "concordance": ("Harrell's C of learning time with rank", "1"),
        "relapse": ("share of the mean loss at the end that lies above its monotone curve", "1"),
    },
    "agreement": {
        "statistic": ("what is estimated, of the order in which subtasks are learned", "name"),
        "width": _KEYS["width"],
        "estimate": ("its estimate", "subtasks for n_learned, else 1"),
        "lower": ("lower end of its interval", "as estimate"),
        "upper": ("upper end of its interval", "as estimate"),
        "kind": ("which interval it is, or why there is none", "text"),
        "n": ("values that enter: seeds, or pairs of seeds", "1"),
        "confidence": ("nominal coverage of the interval", "1"),
    },
    "consensus": {
        "order": ("place in the order in which the seeds learn at the widest, counted from 1", "rank"),
        "subtask": _KEYS["subtask"],
        "frequency": _KEYS["frequency"],
        "mean_rank": ("rank by learning time, counted from 1; mean over seeds", "rank"),
        "lower": ("lower end of the interval of mean_rank over seeds", "rank"),
        "upper": ("upper end of the interval of mean_rank over seeds", "rank"),
        "n_seeds_learned": ("seeds that learned it", "seeds"),
    },
    "inversions": {
        "seed": _KEYS["seed"],
        "width": _KEYS["width"],
        "subtask_first": ("rank by frequency, from 1, of the rarer subtask, which was learned first", "rank"),
        "subtask_later": ("rank by frequency, from 1, of the more frequent, learned later or not", "rank"),
        "n_ranks": ("ranks between them", "ranks"),
        "time_factor": ("how many times later", "1"),
        "at_least": ("whether the factor is a lower bound", "True or False"),
    },
    "q_sequence": {
        "seed": _KEYS["seed"],
        "width": _KEYS["width"],
        "n_parameters": _KEYS["n_parameters"],
        "subtask": _KEYS["subtask"],
        "frequency": _KEYS["frequency"],
        "learned": ("whether it was learned by the end", "True or False"),
        "step": ("optimisation step at which it was learned; empty if it was not", "steps"),
        "step_lower": ("step after which it was learned at the earliest", "steps"),
        "step_upper": ("step by which it was learned; inf if it was not", "steps"),
        "order": ("place in the order of learning, counted from 1; empty if not learned", "rank"),
    },
}
"""Table to column to meaning and unit; "1" where there is none."""


_PREDICTED = {
    "infinite": "expected for infinitely many subtasks",
    "finite": "measured on curves of the hypothesis at the fitted constants, K finite",
    "serial": "measured on curves of learning one after another at the fitted constants, K finite",
}

CONDITION_COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "conditions": {
        "alpha": ("quanta exponent α, or uniform", "1"),
        "n_subtasks": ("number of subtasks K", "subtasks"),
        "n_bits": ("bits of a sample", "bits"),
        "batch_size": ("samples a step", "samples"),
        "learning_rate": ("learning rate", "1"),
        "n_train": ("training examples D, or online", "samples"),
        "n_seeds": ("seeds", "seeds"),
        **{
            name: described
            for axis in ("N", "S", "D")
            for name, described in {
                **_interval(f"alpha_{axis}", f"exponent of the mean loss along {axis}", "1"),
                **{f"alpha_{axis}_{key}": (f"alpha_{axis} {what}", "1") for key, what in _PREDICTED.items()},
            }.items()
        },
        "count": ("whether the loss follows from the count", "outcome"),
        "growth": ("whether the count grows as the hypothesis says", "outcome"),
    }
}
"""The same of the table of several slices, which has those of these columns that there are."""


_DISCOVERY_KEYS = {
    "seed": _KEYS["seed"],
    "affinity": ("how alike two samples are, from the cosine of their gradients", "name"),
}

_OF = (
    "what was clustered: gradients; equal: gradients at equal frequencies; shuffled: gradients, held "
    "against shuffled subtasks; hidden, input, bits: activations of the last hidden layer, the input, the "
    "bits alone; untrained: gradients at step 0; all: gradients of all subtasks; low_loss: of those samples "
    "below 0.1 nat",
    "name",
)

_AGREEMENT = {
    "ari": ("adjusted Rand index of clusters and subtasks", "1"),
    "ami": ("adjusted mutual information of clusters and subtasks", "1"),
    "v": ("V-measure of clusters and subtasks", "1"),
}

_SCORES = {
    **_AGREEMENT,
    "ari_by_label": ("adjusted Rand index of clusters and subtasks with their labels", "1"),
    "exponent": ("Zipf exponent of the sizes of clusters, by maximum likelihood", "1"),
    "exponent_of_truth": ("the same of the sizes of the true subtasks in the sample", "1"),
}

_LINE = "exponent by a line through the envelope of rank-frequency curves, as the paper reads it"

DISCOVERY: dict[str, dict[str, tuple[str, str]]] = {
    "scores": {
        **_DISCOVERY_KEYS,
        "of": _OF,
        "n_clusters": ("number of clusters", "clusters"),
        **_SCORES,
        "exponent_lower": ("lower end of the interval of exponent, as if clusters were drawn by it", "1"),
        "exponent_upper": ("upper end of the interval of exponent, as if clusters were drawn by it", "1"),
    },
    "sweep": {
        **_DISCOVERY_KEYS,
        "n_clusters": ("number of clusters", "clusters"),
        "chosen_by": ("why this number: truth (subtasks learned), eigengap (the largest) or sweep", "name"),
        **_AGREEMENT,
        "exponent": _SCORES["exponent"],
    },
    "exponents": {
        **_DISCOVERY_KEYS,
        "of": _OF,
        "line": (_LINE, "1"),
        "found": _SCORES["exponent"],
        "debiased": ("true exponent that gives what was found, by samples of known ones", "1"),
        "debiased_lower": ("lower end of the interval of debiased; 0 may be farther down", "1"),
        "debiased_upper": ("upper end of the interval of debiased; 3 may be farther up", "1"),
        "true": ("true Zipf exponent, 1 + α", "1"),
        "holds": ("whether the interval holds it", "True or False"),
    },
    "calibration": {
        **_DISCOVERY_KEYS,
        "true": ("true Zipf exponent of a simulated sample", "1"),
        "found": _SCORES["exponent"],
    },
    "summary": {
        "affinity": _DISCOVERY_KEYS["affinity"],
        "of": _OF,
        **{
            name: described
            for measured, (meaning, unit) in _SCORES.items()
            for name, described in _interval(measured, meaning, unit).items()
        },
        "n_seeds": ("networks", "networks"),
    },
    "recovered": {
        "affinity": _DISCOVERY_KEYS["affinity"],
        "of": _OF,
        "true": ("true Zipf exponent, 1 + α", "1"),
        **_interval("line", _LINE, "1"),
        **_interval("found", _SCORES["exponent"][0], "1"),
        **_interval("debiased", "true exponent that gives what was found", "1"),
        "n_holds": ("networks whose own interval of the debiased exponent holds the true one", "networks"),
        "n_seeds": ("networks", "networks"),
    },
}
"""The same of the tables of `quanta discover`."""


def tabulate_columns(tables: Mapping[str, dict[str, tuple[str, str]]] = COLUMNS) -> pd.DataFrame:
    """Tabulate what every column of tables means.

    Parameters
    ----------
    tables : mapping
        `COLUMNS` of `quanta.analysis.tabulate`, or `DISCOVERY`.

    Returns
    -------
    DataFrame
        One row a column: table, column, meaning and unit.
    """
    rows = [
        {"table": table, "column": column, "meaning": meaning, "unit": unit}
        for table, columns in tables.items()
        for column, (meaning, unit) in columns.items()
    ]
    return pd.DataFrame(rows)
