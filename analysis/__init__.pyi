from .axes import Axis, Trace
from .fits.censored import CensoredFit, fit_censored_power_law
from .fits.errors import FitError, NoEstimate, TooFewPoints
from .fits.intervals import Interval
from .learned.left import Left, measure_left, trace
from .learned.budget import Budget, measure_budget
from .learned.drops import Drops, measure_drops
from .learned.times import count_learned, learning_times, select
from .learned.order import concordance
from .theories.simulation import simulate
from .verdict.judge import Question, Verdict, judge
from .verdict.claims import Claim
from .verdict.exponents import Exponent
from .verdict.statistics import Statistics, measure

__all__ = [
    "Axis",
    "Trace",
    "CensoredFit",
    "fit_censored_power_law",
    "FitError",
    "NoEstimate",
    "TooFewPoints",
    "Interval",
    "Left",
    "measure_left",
    "trace",
    "Budget",
    "measure_budget",
    "Drops",
    "measure_drops",
    "count_learned",
    "learning_times",
    "select",
    "concordance",
    "simulate",
    "Question",
    "Verdict",
    "judge",
    "Claim",
    "Exponent",
    "Statistics",
    "measure",
]
