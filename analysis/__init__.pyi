from .figures import (
    plot_count,
    plot_emergence_map,
    plot_learning_curves,
    plot_learning_times,
    plot_loss_scaling,
    plot_q_sequence,
    plot_reconstruction,
    save_figures,
)
from .intervals import FitError, Interval, bootstrap_seeds, jackknife_seeds
from .learning import (
    count_learned,
    count_learned_by,
    final_loss,
    final_mean_loss,
    learning_times,
    select,
    unlearned_mass,
)
from .measurement import Exponent
from .power_laws import PowerLawFit, fit_power_law
from .q_sequence import concordance, tabulate_q_sequence
from .report import render
from .theory import (
    count_from_threshold,
    expected_exponents,
    expected_loss_vs_parameters,
    expected_loss_vs_steps,
    ideal_loss,
    local_slope,
)
from .verdict import Check, Verdict, judge

__all__ = [
    "Check",
    "Exponent",
    "FitError",
    "Interval",
    "PowerLawFit",
    "Verdict",
    "bootstrap_seeds",
    "concordance",
    "count_from_threshold",
    "count_learned",
    "count_learned_by",
    "expected_exponents",
    "expected_loss_vs_parameters",
    "expected_loss_vs_steps",
    "final_loss",
    "final_mean_loss",
    "fit_power_law",
    "ideal_loss",
    "jackknife_seeds",
    "judge",
    "learning_times",
    "local_slope",
    "plot_count",
    "plot_emergence_map",
    "plot_learning_curves",
    "plot_learning_times",
    "plot_loss_scaling",
    "plot_q_sequence",
    "plot_reconstruction",
    "render",
    "save_figures",
    "select",
    "tabulate_q_sequence",
    "unlearned_mass",
]
