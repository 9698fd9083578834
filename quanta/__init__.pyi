from ._version import __version__
from .curves import CurvesError, combine, load_curves, make_curves, save_curves, validate
from .device import resolve_device
from .lock import LockedError
from .manifest import Manifest
from .population import Population, count_parameters
from .spec import (
    EvaluationSpec,
    PopulationSpec,
    StudySpec,
    TrainingSpec,
    UnitSpec,
    load_study,
    shipped_studies,
)
from .status import Status, UnitStatus, read_status
from .store import RunDirectory, StoreError, load, load_population
from .sweep import SweepResult, find_pending, run_sweep
from .training import DivergedError, TrainedUnit, Trainer, train_unit
from .verification import Damage, Verification, verify

__all__ = [
    "CurvesError",
    "Damage",
    "DivergedError",
    "EvaluationSpec",
    "LockedError",
    "Manifest",
    "Population",
    "PopulationSpec",
    "RunDirectory",
    "Status",
    "StoreError",
    "StudySpec",
    "SweepResult",
    "TrainedUnit",
    "Trainer",
    "TrainingSpec",
    "UnitSpec",
    "UnitStatus",
    "Verification",
    "__version__",
    "combine",
    "count_parameters",
    "find_pending",
    "load",
    "load_curves",
    "load_population",
    "load_study",
    "make_curves",
    "read_status",
    "resolve_device",
    "run_sweep",
    "save_curves",
    "shipped_studies",
    "train_unit",
    "validate",
    "verify",
]
