from .agreement import (
    agreement_between_seeds,
    agreement_between_widths,
    consensus_order,
    pairwise_agreement,
    summarize_q_sequence,
)
from .censored import CensoredFit, fit_censored_power_law
from .checks import Check
from .discreteness import Discreteness, measure_discreteness
from .evidence import Evidence, gather_evidence, judge_by_tau, tabulate_time_slopes
from .evidence_figures import plot_drops, plot_final_values, plot_reconstruction_null
from .exponents import Exponent
from .figures import (
    plot_count,
    plot_emergence_map,
    plot_learning_curves,
    plot_learning_times,
    plot_loss_scaling,
    plot_q_sequence,
    plot_reconstruction,
)
from .forecasts import Forecast, audit_windows, compare_models, forecast, hold_out_largest, scaling_points
from .gallery import save_figures
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
from .power_laws import PowerLawFit, fit_power_law
from .q_sequence import concordance, find_inversions, prefix_score, tabulate_q_sequence
from .q_sequence_figures import plot_agreement, plot_consensus
from .reconstruction import PermutationNull, Reconstruction, measure_reconstruction
from .report import render
from .scaling_figures import plot_scaling_fits, plot_window_audit
from .scaling_models import ProfileInterval, ScalingFit, fit_scaling, profile_interval
from .theory import (
    count_from_threshold,
    expected_exponents,
    expected_loss_vs_parameters,
    expected_loss_vs_steps,
    ideal_loss,
    local_slope,
)
from .verdict import Verdict, judge
from .worlds import simulate, true_exponents

__all__ = [
    "CensoredFit",
    "Check",
    "Discreteness",
    "Evidence",
    "Exponent",
    "FitError",
    "Forecast",
    "Interval",
    "PermutationNull",
    "PowerLawFit",
    "ProfileInterval",
    "Reconstruction",
    "ScalingFit",
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
