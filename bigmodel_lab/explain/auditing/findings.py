"""From what was recorded to what is wrong: one function for each kind of finding."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

from bigmodel_lab.explain.auditing.libraries import (
    CAPTUM_DEEP,
    CAPTUM_LRP,
    DEEP,
    GRADIENTS,
    GUIDED,
    LRP,
    PASSED,
    POOLS,
    SHAP,
    has_rule,
    in_lrp,
    overlapping,
    unpools,
)
from bigmodel_lab.explain.auditing.record import FunctionCall, ModuleCall, Record
from bigmodel_lab.explain.auditing.report import Finding

__all__ = ["find"]

ALL = (*DEEP, *GUIDED, *LRP, *SHAP)
MEND = "explain.mend(model)"
OURS = f"{MEND}; explain.deep_lift puts a copy between by itself"
OTHERS = "integrated_gradients or a Shapley method, which need no rules"


def find(model: nn.Module, record: Record) -> list[Finding]:
    """Return all findings of one run, those of function calls first."""
    calls = [call for call in record.functions if not (record.own and call.silent)]
    found = [*_functions(calls), *_own(record), *_repeated(record), *_in_place(calls, record)]
    found += [*_hooks(record), *_rules(record), *_layers(model), *_no_relu(calls)]
    if not record.followed:
        why = "no call was seen that leads from the input to the output: compiled code, or the output is constant"
        found.append(Finding(where="the model", what="an output that cannot be followed", why=why, wrong=ALL))
    return _joined(Counter(found))


def _joined(counts: Counter[Finding]) -> list[Finding]:
    """Make one finding of all that is said about one thing in one place."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in counts:
        groups.setdefault((one.where, one.what), []).append(one)
    return [
        Finding(
            where=where,
            what=what,
            why="; ".join(dict.fromkeys(one.why for one in same)),
            wrong=tuple(sorted({name for one in same for name in one.wrong})),
            loud=tuple(sorted({name for one in same for name in one.loud})),
            do="; ".join(dict.fromkeys(one.do for one in same if one.do)),
            times=max(counts[one] for one in same),
        )
        for (where, what), same in groups.items()
    ]


def _functions(calls: list[FunctionCall]) -> Iterator[Finding]:
    """Calls that a method treats as if they were linear."""
    for call in calls:
        module, verdict, where = call.module, call.verdict, _place(call.path)
        if verdict.cut:
            why = "the result depends on the input, but no gradient leads back (detach, no_grad, a comparison)"
            wrong = (*ALL, *GRADIENTS)
            yield Finding(where=where, what=f"{call.name} without a gradient", why=why, wrong=wrong, do="remove it")
            continue
        wrong: list[str] = []
        if not verdict.affine:
            wrong += [name for name in (*DEEP, *SHAP) if not has_rule(name, module)]
        if verdict.relu:
            wrong += [name for name in GUIDED if not has_rule(name, module)]
        if not verdict.selects and (next(module.children(), None) is not None or call.path == ""):
            wrong += LRP
        if not wrong:
            continue
        own = isinstance(module, tuple(_torch_layers())) and next(module.children(), None) is None
        what = f"nn.{type(module).__name__}" if own else f"functional {call.name}"
        why, do = _reason(call, own)
        yield Finding(where=where, what=what, why=why, wrong=tuple(sorted(wrong)), do=do)


def _reason(call: FunctionCall, own: bool) -> tuple[str, str]:
    if "scaled_dot_product" in call.name:
        why = "fused attention: a product of what depends on the input, without a rule; it gives no weights and has "
        return why + "no second derivative", f'{OTHERS}; for weights attn_implementation="eager" or keep_weights'
    if isinstance(call.module, nn.RNNBase):
        return "a recurrent layer in one fused call, with gates that no rule sees", OTHERS
    if own:
        return "a layer that is not linear and for which these methods have no rule", OTHERS
    if call.verdict.affine:
        return "relevance passes by the plain gradient, not in proportion to what each input gave", MEND
    if call.operands > 1:
        return "joins several things that depend on the input, and not linearly; there is no rule for it", OTHERS
    if call.verdict.relu:
        return "a ReLU that no hook sees: it is passed by its plain gradient", MEND
    return "not linear, and no hook sees it: it is passed by its plain gradient", f"{MEND}, or {OTHERS}"


def _own(record: Record) -> Iterator[Finding]:
    for name in record.own:
        why = "what is inside cannot be judged; rules do not reach it"
        relu = any(call.silent and call.verdict.relu for call in record.functions)
        wrong = (*DEEP, *LRP, *SHAP, *(GUIDED if relu else ()))
        yield Finding(where="the model", what=f"autograd function {name}", why=why, wrong=wrong, do=OTHERS)


def _repeated(record: Record) -> Iterator[Finding]:
    """Modules that are called more than once."""
    calls: dict[nn.Module, list[ModuleCall]] = {}
    for call in record.modules:
        calls.setdefault(call.module, []).append(call)
    for module, same in calls.items():
        if len(same) == 1:
            continue
        loud, wrong = [], []
        if has_rule("deep_lift", module):
            loud += DEEP
        if has_rule("shap_deep", module):  # it keeps the last call's values; other shapes do not fit them
            (wrong if len({call.shape for call in same}) == 1 else loud).append(*SHAP)
        if next(module.children(), None) is None and in_lrp(module) and not isinstance(module, _PASS):
            loud += LRP
        if loud or wrong:
            what = f"nn.{type(module).__name__} called {len(same)} times"
            why = "these methods keep one input and one output per module"
            place = _place(same[0].path)
            yield Finding(where=place, what=what, why=why, wrong=tuple(wrong), loud=tuple(loud), do=MEND)


def _in_place(calls: list[FunctionCall], record: Record) -> Iterator[Finding]:
    """Calls that overwrite what shap's hooks hold."""
    for call in calls:
        if call.onto_leaf:
            own = getattr(call.module, "inplace", False)
            what = f"nn.{type(call.module).__name__} with inplace=True" if own else f"{call.name} in place"
            why = "overwrites a tensor that hooks on modules hold as a view"
            yield Finding(where=_place(call.path), what=what, why=why, loud=SHAP, do=MEND)


def _hooks(record: Record) -> Iterator[Finding]:
    """Captum hooks a module's input tensor; a second rule, or a second user of that tensor, is lost."""
    gives = {call.gives: call for call in record.modules if has_rule("deep_lift", call.module)}
    passes = {call.gives: call for call in record.modules if type(call.module) in _PASS}
    for call in record.modules:
        name = f"nn.{type(call.module).__name__}"
        before = gives.get(call.takes)
        if before and before.module is not call.module and has_rule("deep_lift", call.module):
            what = f"{name} directly after nn.{type(before.module).__name__}"
            why = f"both rules hang on one tensor, and Captum drops the second: {name} is passed by its plain gradient"
            yield Finding(where=_place(call.path), what=what, why=why, wrong=CAPTUM_DEEP, do=OURS)
        before = passes.get(call.takes)
        if before and before.module is not call.module and type(call.module) is nn.Tanh:
            what = f"{name} directly after nn.{type(before.module).__name__}"
            why = f"LRP hooks both on one tensor, and drops the second: {name} is passed by its plain gradient"
            yield Finding(where=_place(call.path), what=what, why=why, wrong=LRP, do=MEND)
        users = record.uses.get(call.takes, [])
        if len(users) > 1:
            wrong = CAPTUM_DEEP if has_rule("deep_lift", call.module) else ()
            wrong += GUIDED if has_rule("guided_backprop", call.module) else ()
            ruled = [has_rule("lrp", user) and not isinstance(user, _PASS) for user in users]
            wrong += LRP if any(ruled) and not all(ruled) else ()
            if wrong:
                why = "Captum's hook replaces the whole gradient of that tensor, also what comes by the other way"
                what = f"{name} on a tensor that is used elsewhere too"
                yield Finding(where=_place(call.path), what=what, why=why, wrong=wrong, do=OURS)


def _rules(record: Record) -> Iterator[Finding]:
    """Modules whose rule in a library is itself wrong."""
    for call in record.modules:
        module = call.module
        if type(module) in POOLS and not unpools(module, call.shape, call.out):
            what = f"nn.{type(module).__name__} with such windows"
            why = "the rule takes the pooling back with F.max_unpool, which refuses these sizes"
            loud = (*DEEP, *SHAP)
            yield Finding(where=_place(call.path), what=what, why=why, loud=loud, do="other sizes, or average pooling")
        elif type(module) in POOLS and overlapping(module):
            why = "the rule writes each place once, and windows that overlap share places"
            do = "a stride as large as the kernel, or average pooling"
            what = f"nn.{type(module).__name__} with overlapping windows"
            yield Finding(where=_place(call.path), what=what, why=why, wrong=(*DEEP, *SHAP), do=do)
        if type(module) is nn.Softmax:
            why = "Captum's rule subtracts a mean over the whole batch, so that the values miss the score's change"
            do = "explain the scores before the softmax"
            yield Finding(where=_place(call.path), what="nn.Softmax", why=why, wrong=DEEP, do=do)


def _layers(model: nn.Module) -> Iterator[Finding]:
    """Layers that Captum's LRP refuses, also where they are not used."""
    for path, module in model.named_modules():
        if path and next(module.children(), None) is None and not in_lrp(module):
            own = type(module).__module__.startswith("torch.nn")
            what = f"{'nn.' if own else ''}{type(module).__name__}"
            if isinstance(module, PASSED):
                why, loud = "Captum's LRP has no rule for this layer, which changes no number", CAPTUM_LRP
                yield Finding(where=path, what=what, why=why, loud=loud, do="explain.lrp, which passes over it")
            else:
                do = "a rule for it (EpsilonRule) where it is linear, or another method"
                yield Finding(where=path, what=what, why="LRP has no rule for this layer", loud=LRP, do=do)


def _no_relu(calls: list[FunctionCall]) -> Iterator[Finding]:
    bent = any(not call.verdict.affine for call in calls)
    if bent and not any(call.verdict.relu or isinstance(call.module, nn.ReLU) for call in calls):
        why = "guided backpropagation changes ReLUs only: here it is the plain gradient under another name"
        yield Finding(where="the model", what="no ReLU", why=why, wrong=GUIDED, do="saliency, by its name")


_PASS = (nn.ReLU, nn.Dropout, nn.Tanh)


def _torch_layers() -> tuple[type, ...]:
    return tuple(kind for kind in vars(torch.nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module))


def _place(path: str) -> str:
    return path or "the model"
