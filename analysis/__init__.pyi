from .figures.evidence import plot_drops, plot_final_values, plot_reconstruction_null
from .figures.gallery import save_figures
from .figures.learning import (
    plot_count,
    plot_emergence_map,
    plot_learning_curves,
    plot_learning_times,
    plot_loss_scaling,
    plot_q_sequence,
    plot_reconstruction,
)
from .figures.order import plot_agreement, plot_consensus
from .figures.scaling import plot_scaling_fits, plot_window_audit
from .fits.censored import CensoredFit, fit_censored_power_law
from .fits.errors import FitError, NoEstimate, TooFewPoints
from .fits.forecasts import (
    Forecast,
    audit_windows,
    compare_models,
    forecast,
    hold_out_largest,
    scaling_points,
)
from .fits.intervals import Interval, bootstrap_seeds, jackknife_seeds, mean_over_seeds
from .fits.power_laws import PowerLawFit, fit_power_law
from .fits.scaling import ProfileInterval, ScalingFit, fit_scaling, profile_interval
from .learned.agreement import (
    agreement_between_seeds,
    agreement_between_widths,
    consensus_order,
    pairwise_agreement,
    summarize_q_sequence,
)
from .learned.discreteness import Discreteness, measure_discreteness
from .learned.order import concordance, find_inversions, prefix_score, tabulate_q_sequence
from .learned.reconstruction import PermutationNull, Reconstruction, measure_reconstruction
from .learned.times import (
    count_learned,
    count_learned_by,
    final_loss,
    final_mean_loss,
    learning_times,
    select,
    unlearned_mass,
)
from .report.text import render
from .theories.theory import (
    count_from_threshold,
    expected_exponents,
    expected_loss_vs_parameters,
    expected_loss_vs_steps,
    ideal_loss,
    local_slope,
)
from .theories.worlds import simulate, true_exponents
from .verdict.checks import Check
from .verdict.evidence import Evidence, gather_evidence, judge_by_tau, tabulate_time_slopes
from .verdict.exponents import Exponent
from .verdict.judge import Verdict, judge

__all__ = [
    "CensoredFit",
    "Check",
    "Discreteness",
    "Evidence",
    "Exponent",
    "FitError",
    "Forecast",
    "Interval",
    "NoEstimate",
    "PermutationNull",
    "PowerLawFit",
    "ProfileInterval",
    "Reconstruction",
    "ScalingFit",
    "TooFewPoints",
    "Verdict",
    "agreement_between_seeds",
    "agreement_between_widths",
    "audit_windows",
    "bootstrap_seeds",
    "compare_models",
    "concordance",
    "consensus_order",
    "count_from_threshold",
    "count_learned",
    "count_learned_by",
    "expected_exponents",
    "expected_loss_vs_parameters",
    "expected_loss_vs_steps",
    "final_loss",
    "final_mean_loss",
    "find_inversions",
    "fit_censored_power_law",
    "fit_power_law",
    "fit_scaling",
    "forecast",
    "gather_evidence",
    "hold_out_largest",
    "ideal_loss",
    "jackknife_seeds",
    "judge",
    "judge_by_tau",
    "learning_times",
    "local_slope",
    "mean_over_seeds",
    "measure_discreteness",
    "measure_reconstruction",
    "pairwise_agreement",
    "plot_agreement",
    "plot_consensus",
    "plot_count",
    "plot_drops",
    "plot_emergence_map",
    "plot_final_values",
    "plot_learning_curves",
    "plot_learning_times",
    "plot_loss_scaling",
    "plot_q_sequence",
    "plot_reconstruction",
    "plot_reconstruction_null",
    "plot_scaling_fits",
    "plot_window_audit",
    "prefix_score",
    "profile_interval",
    "render",
    "save_figures",
    "scaling_points",
    "select",
    "simulate",
    "summarize_q_sequence",
    "tabulate_q_sequence",
    "tabulate_time_slopes",
    "true_exponents",
    "unlearned_mass",
]
