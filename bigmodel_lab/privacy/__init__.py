"""What a trained model gives away about its training data, and what limits it.

`membership` attacks, `dp_sgd` trains with noise, `accounting` says what the noise promises, `federated` averages models
of clients that keep their data, and `masking` replaces what has the form of personal data.
Privacy is meant in the sense of Dwork & Roth (2014), doi 10.1561/0400000042.
"""

from bigmodel_lab.privacy import masking
from bigmodel_lab.privacy.accounting import epsilon, gaussian_delta, noise_for, tpr_bound
from bigmodel_lab.privacy.dp_sgd import clipped_sum, dp_step, per_example_gradients
from bigmodel_lab.privacy.federated import dirichlet_split, federated_average, input_from_gradient
from bigmodel_lab.privacy.membership import AttackReport, attack_report, confidence, exposure, lira

__all__ = [
    "AttackReport",
    "attack_report",
    "clipped_sum",
    "confidence",
    "dirichlet_split",
    "dp_step",
    "epsilon",
    "exposure",
    "federated_average",
    "gaussian_delta",
    "input_from_gradient",
    "lira",
    "masking",
    "noise_for",
    "per_example_gradients",
    "tpr_bound",
]
