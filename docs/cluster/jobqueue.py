"""Start workers as Slurm jobs, and print where their scheduler is; Ctrl-C ends them.

Needs ``pip install dask-jobqueue``. Then: ``quanta train my-study.toml --scheduler ADDRESS``.
"""

import signal

from dask_jobqueue import SLURMCluster

if __name__ == "__main__":
    with SLURMCluster(
        cores=1,
        processes=1,
        memory="4GB",
        walltime="04:00:00",
        worker_extra_args=["--memory-limit", "0"],  # that is for Slurm; Dask would pause or kill workers
        log_directory="logs",
    ) as cluster:
        cluster.scale(jobs=8)
        print(cluster.scheduler_address, flush=True)
        signal.pause()
