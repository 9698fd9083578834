from .config import Config, ConfigError
from .frequencies import tail_mass, uniform_frequencies, zipf_frequencies
from .seeds import derive_sample_seed, derive_seed
from .sparse_parity import Batch, MultitaskSparseParity, TaskError
from .spec import TaskShape, TaskSpec

__all__ = [
    "Batch",
    "Config",
    "ConfigError",
    "MultitaskSparseParity",
    "TaskError",
    "TaskShape",
    "TaskSpec",
    "derive_sample_seed",
    "derive_seed",
    "tail_mass",
    "uniform_frequencies",
    "zipf_frequencies",
]
