"""How well clusters agree with the subtasks that are known."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score


@dataclass(frozen=True)
class Scores:
    """Agreement of two partitions: 1 if they are the same.

    Attributes
    ----------
    ari : float
        Adjusted Rand index: 0 is expected by chance.
    ami : float
        Adjusted mutual information: 0 is expected by chance.
    v : float
        V-measure, the harmonic mean of homogeneity and completeness: not adjusted, so that many clusters
        have some by chance.
    """

    ari: float
    ami: float
    v: float


def score(true: NDArray[Any], found: NDArray[Any]) -> Scores:
    """Score clusters against the truth.

    Parameters
    ----------
    true, found : ndarray, shape (B,)
        What each sample belongs to, in whatever names.

    Returns
    -------
    Scores

    References
    ----------
    Hubert and Arabie (1985), doi:10.1007/BF01908075; Vinh et al. (2010), JMLR 11, 2837; Rosenberg and
    Hirschberg (2007), EMNLP 410.
    """
    return Scores(
        float(adjusted_rand_score(true, found)),
        float(adjusted_mutual_info_score(true, found)),
        float(v_measure_score(true, found)),
    )
