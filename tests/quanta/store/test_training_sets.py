import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from quanta.curves.dataset import load_curves
from quanta.store.errors import StoreError
from quanta.store.run_directory import RunDirectory
from quanta.store.verification import verify
from quanta.study.spec import StudySpec
from quanta.sweep.units import find_pending, run_sweep
from tests.quanta.store.test_checkpoint import STUDY
from tests.quanta.store.test_store import contents, is_untouched


class TestTrainingSets:
    """Finite training sets that an older version drew otherwise are never beside those of this one."""

    @pytest.fixture
    def run(self, tmp_path):
        study = StudySpec.parse(STUDY | {"n_train": [20, 50, "online"], "seed": [0]})
        run = RunDirectory.create(tmp_path / "run", study)
        run_sweep(run)
        return run

    def make_old(self, run, *n_train):
        for unit in run.study.units():
            if unit.n_train in n_train:
                file = run.folder(unit) / "manifest.json"
                text = file.read_text()
                assert '"schema": 2' in text
                file.write_text(text.replace('"schema": 2', '"schema": 1'))

    def test_old_and_new_are_not_read_together(self, run):
        self.make_old(run, 20)
        assert is_untouched(run.path, run.load, r"sets of schema 1, .* beside those of schema 2 \(see alpha=")
        with pytest.raises(StoreError, match="training sets of schema 1"):
            list(run.split())

    def test_old_ones_alone_are_read(self, run):
        whole = run.load()
        self.make_old(run, 20, 50)
        xr.testing.assert_identical(run.load(), whole)
        assert verify(run).damaged == ()

    def test_online_is_the_same_in_both(self, run):
        whole = run.load()
        self.make_old(run, "online")
        xr.testing.assert_identical(run.load(), whole)
        assert run.pending() == []

    @pytest.mark.parametrize("failed", [False, True])
    def test_new_ones_are_not_trained_beside_old_ones(self, run, failed):
        [first, second, online] = run.study.units()
        if failed:
            run.write_failed(first, "it diverged", device=None, started=datetime.now(UTC))
        self.make_old(run, 20)
        shutil.rmtree(run.folder(second))
        before = contents(run.path)
        for trial in (find_pending, run_sweep):
            with pytest.raises(
                StoreError, match=rf"schema 1, .* \(see {first.id}\); train in another folder"
            ):
                trial(run)
        assert contents(run.path) == before
        # Online data may be added, and all be trained anew.
        shutil.rmtree(run.folder(online))
        assert run_sweep(run, units=[online]).n_done == 1
        again = RunDirectory.create(run.path, run.study, overwrite=True)
        assert run_sweep(again).n_done == 3

    def test_online_curves_are_given_what_the_others_have(self, run):
        curves = run.load().squeeze()
        online, finite = curves.sel(n_train=np.inf), curves.sel(n_train=[20, 50])
        assert (online["examples_seen"] == online["samples_seen"]).all()
        assert (finite["examples_seen"].isel(step=-1).sum("subtask") <= finite["n_train"]).all()
        assert online["selection_loss"].isnull().all()
        assert finite["selection_loss"].notnull().all()
        file = load_curves(run.folder(run.study.units()[-1]) / "curves.nc")
        assert not {"examples_seen", "selection_loss", "reported_loss"} & set(file.variables)
