"""Which modules Captum 0.9 and shap 0.51 have rules for.

`deep_lift`, `deep_shap`, `guided_backprop` and `lrp` rest on Captum's (Kokhlikyan et al. 2020, arXiv 2009.07896),
`shap_deep` on shap's DeepExplainer (Lundberg & Lee 2017, arXiv 1705.07874).
"""

from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
from torch import nn

__all__ = [
    "DEEP",
    "GRADIENTS",
    "GUIDED",
    "LRP",
    "POOLS",
    "SHAP",
    "SHAP_RULES",
    "has_rule",
    "in_lrp",
    "overlapping",
    "unpools",
]

DEEP = ("deep_lift", "deep_shap")
GUIDED = ("guided_backprop", "guided_grad_cam")
LRP = ("lrp",)
SHAP = ("shap_deep",)
# What explain's own methods put right before they call Captum, and who calls Captum must put right.
CAPTUM_DEEP = ("captum.DeepLift", "captum.DeepLiftShap")
CAPTUM_LRP = ("captum.LRP",)
PASSED = (nn.Embedding, nn.Flatten, nn.Identity, nn.Unflatten)  # by explain's lrp; Captum's refuses them
# What reads gradients in any way: a graph that is cut makes all of it wrong.
GRADIENTS = (
    "gradient_shap",
    "grad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "layer_conductance",
    "neuron_conductance",
    "saliency",
    "shap_gradient",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_SHAP = "ELU GELU LeakyReLU MaxPool1d MaxPool2d MaxPool3d ReLU SELU Sigmoid Softmax Softplus Tanh"
SHAP_RULES = frozenset(_SHAP.split())  # shap is slow to import: a test holds this list against it


def has_rule(method: str, module: nn.Module) -> bool:
    """Say whether `method` treats what `module` itself computes by a rule of its own."""
    if method in DEEP:
        return type(module) in SUPPORTED_NON_LINEAR
    if method in GUIDED:
        return isinstance(module, nn.ReLU)
    leaf = next(module.children(), None) is None
    if method in SHAP:
        return leaf and type(module).__name__ in SHAP_RULES
    return leaf and in_lrp(module)


def in_lrp(module: nn.Module) -> bool:
    """Say whether Captum's LRP takes this layer: it refuses models with any other module that has no children."""
    known = type(module) in SUPPORTED_LAYERS_WITH_RULES or type(module) in SUPPORTED_NON_LINEAR_LAYERS
    return known or hasattr(module, "rule")


def overlapping(pool: nn.Module) -> bool:
    """Say whether windows of a max-pooling layer share places."""
    kernel, stride, dilation = (
        one if isinstance(one, tuple) else (one,) * 3 for one in (pool.kernel_size, pool.stride, pool.dilation)
    )
    return any((k - 1) * d + 1 > s for k, s, d in zip(kernel, stride, dilation, strict=True))


def unpools(pool: nn.Module, shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Say whether F.max_unpool takes a pooling from `shape` to `out` back: it knows no dilation."""
    kernel, stride, padding = (
        one if isinstance(one, tuple) else (one,) * 3 for one in (pool.kernel_size, pool.stride, pool.padding)
    )
    places = zip(kernel, stride, padding, shape[2:], out[2:], strict=False)
    return all(abs((o - 1) * s - 2 * p + k - size) < s for k, s, p, size, o in places)
