from ._version import __version__
from .curves.combine import combine
from .curves.conversion import as_curves
from .curves.dataset import load_curves, make_curves, save_curves
from .curves.importers.csv_file import curves_from_csv
from .curves.importers.sacred import curves_from_sacred
from .curves.schema import CurvesError, validate
from .curves.selection import read_losses
from .curves.tables import curves_from_table
from .store.errors import StoreError
from .store.lock import LockedError
from .store.manifest import Manifest
from .store.run_directory import RunDirectory, load, load_population
from .store.slices import Slice
from .store.status import Status, UnitStatus, read_status
from .store.verification import Damage, Verification, verify
from .study.sections import EvaluationSpec, PopulationSpec, TrainingSpec
from .study.spec import StudySpec, UnitSpec, load_study, shipped_studies
from .sweep.units import SweepResult, find_pending, run_sweep
from .tasks.errors import QuantaError
from .training.device import resolve_device
from .training.gradients import GradientError, compute_gram, compute_gram_of_module
from .training.population import Population, count_parameters
from .training.probe import Probe
from .training.results import TrainedUnit
from .training.trainer import DivergedError, Trainer, train_unit

__all__ = [
    "CurvesError",
    "Damage",
    "DivergedError",
    "EvaluationSpec",
    "GradientError",
    "LockedError",
    "Manifest",
    "Population",
    "PopulationSpec",
    "Probe",
    "QuantaError",
    "RunDirectory",
    "Slice",
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
    "as_curves",
    "combine",
    "compute_gram",
    "compute_gram_of_module",
    "count_parameters",
    "curves_from_csv",
    "curves_from_sacred",
    "curves_from_table",
    "find_pending",
    "load",
    "load_curves",
    "load_population",
    "load_study",
    "make_curves",
    "read_losses",
    "read_status",
    "resolve_device",
    "run_sweep",
    "save_curves",
    "shipped_studies",
    "train_unit",
    "validate",
    "verify",
]
