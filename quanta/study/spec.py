"""What a study is: the task, the population, the training and the evaluation, validated; read from TOML."""

import hashlib
import itertools
import math
import os
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from quanta.study.axes import ALPHA, CONDITIONS, CURVES_AXES, N_TRAIN, SEED, STUDY_AXES, Value
from quanta.study.sections import (
    EvaluationSpec,
    PopulationSpec,
    StudyTask,
    StudyTraining,
    TrainingSpec,
    as_tuple,
)
from quanta.study.size import MAX_UNITS, check_curves, check_size, memory_needed
from quanta.tasks.config import Config, ConfigError, one_line, read_text
from quanta.tasks.spec import Alpha, TaskShape, TaskSpec
from quanta.tasks.toml import MAX_SHOWN, parse_toml, parse_value

Seed = Annotated[int, Field(ge=0, lt=2**63)]
NTrain = Annotated[int, Field(ge=1, le=10**9)] | Literal["online"]
Section = TypeVar("Section", TaskShape, TrainingSpec)


class UnitSpec(Config):
    """One population at one place on every axis: what a worker trains."""

    alpha: Alpha
    """Quanta exponent, or "uniform"."""
    n_train: NTrain
    """Distinct training examples D, or "online" when every batch is fresh."""
    seed: Seed
    """Decides subsets, training samples, initial weights and test samples, each by its own stream."""
    task: TaskShape
    population: PopulationSpec
    training: TrainingSpec
    evaluation: EvaluationSpec

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        check_size(self.task, self.population, self.training, self.evaluation, self.n_train)
        return self

    @property
    def task_spec(self) -> TaskSpec:
        """The task of this unit."""
        return TaskSpec(**self.task.model_dump(), alpha=self.alpha)

    @property
    def memory_needed(self) -> dict[str, int]:
        """Bytes that training it takes at the least, by what they are for."""
        return memory_needed(self.task, self.population, self.training, self.evaluation, self.n_train)

    @property
    def id(self) -> str:
        """A readable name that ends in a hash of the whole spec: equal specs have equal ids."""
        # Without what is at its default, so that a field added later leaves the units on disk their names.
        # Should a default change, a unit trained with the old one is told by its manifest, which holds all.
        digest = hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]
        named = (axis for axis in STUDY_AXES if axis.in_ids is not None)
        return "_".join([*(f"{axis.in_ids}={axis.of(self)}" for axis in named), digest])

    @property
    def coordinates(self) -> dict[str, Any]:
        """Where it stands on each axis that is a dimension of Curves: a number, as there."""
        return {axis.name: axis.coordinate(axis.of(self)) for axis in CURVES_AXES}

    @property
    def condition(self) -> dict[str, Value]:
        """The value of each condition: what all units of a slice share."""
        return {axis.name: axis.of(self) for axis in CONDITIONS}

    @property
    def has_halves(self) -> bool:
        """Whether the loss is also measured on each half of the test set.

        A network may overfit a finite training set. Then its loss is read where it was lowest, and the step
        must not be chosen on the samples on which the loss is reported.
        """
        return self.n_train != "online" and self.evaluation.samples_per_subtask > 1

    @property
    def evaluation_steps(self) -> NDArray[np.int64]:
        """Steps after which the population is measured, shape (n_step,)."""
        if self.evaluation.spacing == "linear":
            even = np.linspace(0, self.training.steps, self.evaluation.n_evaluations)
            return np.unique(even.round().astype(np.int64))
        # From the last step down, so that a single one is the last and not the first.
        spaced = np.geomspace(self.training.steps, 1, self.evaluation.n_evaluations - 1)
        return np.unique(np.concatenate([[0], spaced.round().astype(np.int64)]))


class StudySpec(Config):
    """A sweep: the axes, two sections of which hold some, and what all its units share."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Short name; the default folder of its runs."""
    description: str = ""
    """What the study is for."""
    alpha: Annotated[
        tuple[Alpha, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(ALPHA.check_distinct),
    ] = (0.4,)
    """Axis: quanta exponents, or "uniform". One value or a list."""
    n_train: Annotated[
        tuple[NTrain, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(N_TRAIN.check_distinct),
    ] = ("online",)
    """Axis: distinct training examples D, or "online". One value or a list."""
    seed: Annotated[
        tuple[Seed, ...],
        Field(fail_fast=True),
        BeforeValidator(as_tuple),
        AfterValidator(SEED.check_distinct),
    ] = (0,)
    """Axis: seeds. One value or a list."""
    task: StudyTask = StudyTask()
    population: PopulationSpec
    training: StudyTraining
    evaluation: EvaluationSpec = EvaluationSpec()

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.training.precision == "bf16" and self.population.n_hidden_layers > 1:
            raise ValueError(
                "training.precision must be float32, float64 or tf32 with population.n_hidden_layers "
                f"{self.population.n_hidden_layers}, not bf16"
            )
        return self

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        n_units = math.prod(len(as_tuple(axis.of(self))) for axis in STUDY_AXES)
        if n_units > MAX_UNITS:
            axes = " x ".join(axis.path for axis in STUDY_AXES if len(as_tuple(axis.of(self))) > 1)
            raise ValueError(f"{axes} must be at most {MAX_UNITS} units, not {n_units}")
        finite = [n_train for n_train in self.n_train if n_train != "online"]
        largest: NTrain = max(finite) if finite else "online"
        pairs = list(itertools.product(self._each("task", TaskShape), self._each("training", TrainingSpec)))
        curves = [
            check_size(task, self.population, training, self.evaluation, largest) for task, training in pairs
        ]
        check_curves(n_units // len(pairs) * sum(curves))
        return self

    def units(self) -> list[UnitSpec]:
        """List the units: every combination of a value of each axis."""
        tasks, trainings = self._each("task", TaskShape), self._each("training", TrainingSpec)
        tops = [axis for axis in CURVES_AXES if axis not in CONDITIONS]
        places = list(itertools.product(*(axis.of(self) for axis in tops)))
        return [
            UnitSpec(
                alpha=alpha,
                task=task,
                population=self.population,
                training=training,
                evaluation=self.evaluation,
                **{axis.name: value for axis, value in zip(tops, place, strict=True)},
            )
            for alpha in self.alpha
            for task in tasks
            for training in trainings
            for place in places
        ]

    def _each(self, section: str, of_unit: type[Section]) -> list[Section]:
        """List what units have as a section: every combination of a value of each axis in it."""
        whole = dict(getattr(self, section))
        axes = [axis for axis in STUDY_AXES if axis.section == section]
        places = itertools.product(*(as_tuple(axis.of(self)) for axis in axes))
        return [
            of_unit(**whole | {axis.name: value for axis, value in zip(axes, place, strict=True)})
            for place in places
        ]


def shipped_studies() -> dict[str, str]:
    """Ready-made studies: name to description."""
    folder = resources.files("quanta.study.studies")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return {
        name.removesuffix(".toml"): tomllib.loads((folder / name).read_text(encoding="utf-8"))["description"]
        for name in files
    }


def load_study(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> StudySpec:
    """Read a study from a TOML file or by the name of a shipped one.

    Parameters
    ----------
    source : path-like or str
        A path that ends in ``.toml``, or a name of `shipped_studies`.
    overrides : sequence of str
        Changes such as ``"training.steps=1000"``; the value is TOML, or a bare word.

    Returns
    -------
    StudySpec

    Raises
    ------
    ConfigError
        One line: the file, each key's path, what is allowed and what came.
    FileNotFoundError
        If there is neither such a file nor such a shipped study.
    """
    path = Path(source)
    try:
        if path.suffix == ".toml" and path.is_file():
            text = read_text(path)
        elif str(source) in shipped_studies():
            text = (resources.files("quanta.study.studies") / f"{source}.toml").read_text(encoding="utf-8")
        else:
            names = ", ".join(shipped_studies())
            raise FileNotFoundError(f"no study {str(source)!r}: expected a .toml file or one of {names}")
        values = parse_toml(text)
    except ConfigError as error:
        raise ConfigError(f"study {source}: not TOML ({error})") from None
    for override in overrides:
        _override(values, override)
    try:
        return StudySpec.parse(values)
    except ConfigError as error:
        raise ConfigError(f"study {source}: {error}") from None


def _override(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    shown = one_line(repr(override), MAX_SHOWN)
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"override {shown}: expected KEY=VALUE, such as training.steps=1000")
    try:
        value = parse_value(text)
    except ConfigError as error:
        raise ConfigError(f"override {shown}: {error}") from None
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"override {shown}: {key} is a value, not a section")
    values[keys[-1]] = value
