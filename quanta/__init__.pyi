from ._version import __version__
from .curves import CurvesError, combine, load_curves, make_curves, save_curves, validate
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
from .store import Manifest, RunDirectory, StoreError, load, load_population
from .sweep import SweepResult, resolve_device, run_sweep
from .training import DivergedError, TrainedUnit, Trainer, train_unit

__all__ = [
    "CurvesError",
    "DivergedError",
    "EvaluationSpec",
    "Manifest",
    "Population",
    "PopulationSpec",
    "RunDirectory",
    "StoreError",
    "StudySpec",
    "SweepResult",
    "TrainedUnit",
    "Trainer",
    "TrainingSpec",
    "UnitSpec",
    "__version__",
    "combine",
    "count_parameters",
    "load",
    "load_curves",
    "load_population",
    "load_study",
    "make_curves",
    "resolve_device",
    "run_sweep",
    "save_curves",
    "shipped_studies",
    "train_unit",
    "validate",
]
