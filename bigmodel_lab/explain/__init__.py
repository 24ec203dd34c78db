"""Explanation: attribution methods under one contract, metrics, audits of models, and boards of methods × metrics.

Every method takes `(forward, inputs, target, baseline)` and returns one `Explanation`; see `explain.contract`.
Captum and SHAP do most of the work below; each part is imported when it is first named.
"""

from importlib import import_module

__all__ = [
    "Audit",
    "Board",
    "Case",
    "Concept",
    "Explanation",
    "Finding",
    "TextExplanation",
    "ablation",
    "attention_map",
    "attention_rollout",
    "audit",
    "board",
    "card",
    "deep_lift",
    "deep_shap",
    "exact_shapley",
    "grad_cam",
    "gradient_shap",
    "grid",
    "guided_backprop",
    "guided_grad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "kernel_shap",
    "layer_conductance",
    "lime",
    "llm_attribution",
    "lrp",
    "mend",
    "metrics",
    "neuron_conductance",
    "occlusion",
    "saliency",
    "self_influence",
    "shap_deep",
    "shap_gradient",
    "shap_partition",
    "shapley_sampling",
    "smoothgrad",
    "smoothgrad_squared",
    "smoothgrads",
    "tcav",
    "tracin",
    "vargrad",
]
_HOME = {  # where each name is found
    "auditing": "Audit Finding audit mend",
    "boards": "Board Case board",
    "contract": "Explanation",
    "methods.attention": "attention_map attention_rollout",
    "methods.cam": "grad_cam guided_grad_cam",
    "methods.concepts": "Concept tcav",
    "methods.gradients": "input_x_gradient integrated_gradients saliency "
    "smoothgrad smoothgrad_squared smoothgrads vargrad",
    "methods.influence": "self_influence tracin",
    "methods.language": "TextExplanation llm_attribution",
    "methods.layers": "layer_conductance neuron_conductance",
    "methods.perturbation": "ablation lime occlusion",
    "methods.rules": "deep_lift deep_shap gradient_shap guided_backprop lrp",
    "methods.shap_library": "shap_deep shap_gradient shap_partition",
    "players": "grid",
    "shapley": "exact_shapley kernel_shap shapley_sampling",
}


def __getattr__(name: str):
    """Import the part that holds `name` on first use: Captum and SHAP take seconds to load."""
    if name in ("card", "metrics"):
        return import_module(f"{__name__}.{name}")
    for module, names in _HOME.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
