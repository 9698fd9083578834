from .axes import Axis, Trace
from .fits.censored import CensoredFit, fit_censored_power_law
from .fits.errors import FitError, NoEstimate, TooFewPoints
from .fits.intervals import Interval
from .learned.budget import Budget, measure_budget
from .learned.drops import Drops, measure_drops
from .learned.left import Left, measure_left, trace
from .learned.order import concordance
from .learned.times import count_learned, learning_times, select
from .theories.worlds import simulate
from .verdict.claims import Claim
from .verdict.exponents import Exponent
from .verdict.judge import Question, Verdict, judge
from .verdict.statistics import Statistics, measure

__all__ = [
    "Axis",
    "Budget",
    "CensoredFit",
    "Claim",
    "Drops",
    "Exponent",
    "FitError",
    "Interval",
    "Left",
    "NoEstimate",
    "Question",
    "Statistics",
    "TooFewPoints",
    "Trace",
    "Verdict",
    "concordance",
    "count_learned",
    "fit_censored_power_law",
    "judge",
    "learning_times",
    "measure",
    "measure_budget",
    "measure_drops",
    "measure_left",
    "select",
    "simulate",
    "trace",
]
