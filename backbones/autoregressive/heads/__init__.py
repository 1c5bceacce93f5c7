"""Output heads, which map features to a distribution over one event."""

from .base import Head
from .bernoulli import Bernoulli
from .categorical import Categorical
from .gaussian_mixture import GaussianMixture
from .logistic_mixture import DiscretisedLogisticMixture

HEADS: dict[str, type[Head]] = {
    "categorical": Categorical,
    "bernoulli": Bernoulli,
    "logistic-mixture": DiscretisedLogisticMixture,
    "gaussian-mixture": GaussianMixture,
}

__all__ = ["HEADS", "Bernoulli", "Categorical", "DiscretisedLogisticMixture", "GaussianMixture", "Head"]
