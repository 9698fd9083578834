from .axes import ALPHA, RESOURCES, Axis, D, K, N, S, Trace
from .discovery.calibration import Calibration, calibrate, debias
from .discovery.clusters import cluster, eigengap
from .discovery.network import Clusters, Discovery, Law, discover
from .discovery.scores import Scores, score
from .discovery.zipf import fit_zipf
from .figures.beta import plot_beta
from .figures.budget import plot_budget, plot_exponent_parts
from .figures.conditions import plot_exponents_by_condition
from .figures.count import plot_count
from .figures.discovery import plot_contingency, plot_rank_frequency, plot_similarity
from .figures.drops import plot_drops, plot_drops_by_metric
from .figures.emergence import plot_emergence_map
from .figures.expected import expect_loss
from .figures.gallery import save_figures
from .figures.learning import plot_learning_curves, plot_learning_curves_grid
from .figures.loss import plot_loss
from .figures.order import plot_agreement, plot_consensus, plot_q_sequence
from .figures.scaling import plot_scaling_fits, plot_windows
from .figures.times import plot_drift, plot_learning_times
from .fits.censored import CensoredFit, fit_censored_power_law
from .fits.comparison import Rival, compare_models
from .fits.counts import CountFit, fit_count_power_law
from .fits.curves import BrokenPowerLaw, Exponential, PowerLaw, PowerLawWithFloor, ScalingCurve
from .fits.errors import FitError, NoEstimate, TooFewPoints
from .fits.forecasts import Forecast, forecast, hold_out_largest
from .fits.intervals import Interval, jackknife_seeds, mean_over_seeds
from .fits.power_laws import PowerLawFit, fit_power_law
from .fits.scaling import ScalingFit, fit_scaling, profile_interval
from .fits.windows import Windows, audit_windows
from .learned.agreement import (
    agreement_between_seeds,
    agreement_between_widths,
    consensus_order,
    summarize_q_sequence,
)
from .learned.budget import Budget, measure_budget
from .learned.drops import Drops, measure_drops
from .learned.left import Left, measure_left, trace
from .learned.order import (
    concordance,
    expected_concordance,
    find_inversions,
    prefix_score,
    tabulate_q_sequence,
)
from .learned.slices import select
from .learned.times import count_learned, learning_times
from .report.beside import render_comparison
from .report.conditions import render_conditions
from .report.text import render, render_details
from .theories.domino import Domino
from .theories.multilinear import Multilinear
from .theories.protocol import Observed, Theory, World
from .theories.quanta import (
    FiniteK,
    Quanta,
    count_from_threshold,
    expected_exponents,
    ideal_loss,
    local_slope,
)
from .theories.simulation import simulate, simulate_like
from .theories.smooth import Smooth
from .theories.spectral import Spectral
from .theories.worlds import true_exponents
from .verdict.beside import Comparison, compare_published
from .verdict.claims import Claim
from .verdict.conditions import Conditions, compare_conditions, tabulate_conditions
from .verdict.exponents import Exponent
from .verdict.judge import Question, Verdict, judge
from .verdict.statistics import Statistics, measure
from .verdict.tables import tabulate

__all__ = [
    "ALPHA",
    "RESOURCES",
    "Axis",
    "BrokenPowerLaw",
    "Budget",
    "Calibration",
    "CensoredFit",
    "Claim",
    "Clusters",
    "Comparison",
    "Conditions",
    "CountFit",
    "D",
    "Discovery",
    "Domino",
    "Drops",
    "Exponent",
    "Exponential",
    "FiniteK",
    "FitError",
    "Forecast",
    "Interval",
    "K",
    "Law",
    "Left",
    "Multilinear",
    "N",
    "NoEstimate",
    "Observed",
    "PowerLaw",
    "PowerLawFit",
    "PowerLawWithFloor",
    "Quanta",
    "Question",
    "Rival",
    "S",
    "ScalingCurve",
    "ScalingFit",
    "Scores",
    "Smooth",
    "Spectral",
    "Statistics",
    "Theory",
    "TooFewPoints",
    "Trace",
    "Verdict",
    "Windows",
    "World",
    "agreement_between_seeds",
    "agreement_between_widths",
    "audit_windows",
    "calibrate",
    "cluster",
    "compare_conditions",
    "compare_models",
    "compare_published",
    "concordance",
    "consensus_order",
    "count_from_threshold",
    "count_learned",
    "debias",
    "discover",
    "eigengap",
    "expect_loss",
    "expected_concordance",
    "expected_exponents",
    "find_inversions",
    "fit_censored_power_law",
    "fit_count_power_law",
    "fit_power_law",
    "fit_scaling",
    "fit_zipf",
    "forecast",
    "hold_out_largest",
    "ideal_loss",
    "jackknife_seeds",
    "judge",
    "learning_times",
    "local_slope",
    "mean_over_seeds",
    "measure",
    "measure_budget",
    "measure_drops",
    "measure_left",
    "plot_agreement",
    "plot_beta",
    "plot_budget",
    "plot_consensus",
    "plot_contingency",
    "plot_count",
    "plot_drift",
    "plot_drops",
    "plot_drops_by_metric",
    "plot_emergence_map",
    "plot_exponent_parts",
    "plot_exponents_by_condition",
    "plot_learning_curves",
    "plot_learning_curves_grid",
    "plot_learning_times",
    "plot_loss",
    "plot_q_sequence",
    "plot_rank_frequency",
    "plot_scaling_fits",
    "plot_similarity",
    "plot_windows",
    "prefix_score",
    "profile_interval",
    "render",
    "render_comparison",
    "render_conditions",
    "render_details",
    "save_figures",
    "score",
    "select",
    "simulate",
    "simulate_like",
    "summarize_q_sequence",
    "tabulate",
    "tabulate_conditions",
    "tabulate_q_sequence",
    "trace",
    "true_exponents",
]
