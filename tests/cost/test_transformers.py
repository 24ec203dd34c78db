"""Parameters, operations and bytes against real modules of transformers and PyTorch, on the meta device or small."""

import warnings
from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from bigmodel_lab import cost
from bigmodel_lab.errors import InputError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")
    import transformers as hf

REAL = {
    "gpt2": (hf.GPT2LMHeadModel, {}),
    "gpt2-xl": (hf.GPT2LMHeadModel, {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "gpt-3": (hf.GPT2LMHeadModel, {"n_embd": 12288, "n_layer": 96, "n_head": 96, "n_positions": 2048}),
    "bert-large": (
        hf.BertModel,
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
    "llama-2-70b": (
        hf.LlamaForCausalLM,
        {
            "vocab_size": 32000,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
        },
    ),
    "mistral-7b": (hf.MistralForCausalLM, {"num_key_value_heads": 8}),
    "mixtral-8x7b": (hf.MixtralForCausalLM, {"vocab_size": 32000, "num_key_value_heads": 8}),
    "qwen3-30b-a3b": (
        hf.Qwen3MoeForCausalLM,
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "num_hidden_layers": 48,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "moe_intermediate_size": 768,
            "num_experts": 128,
            "num_experts_per_tok": 8,
        },
    ),
}
TINY = {
    "llama": (hf.LlamaForCausalLM, {"num_key_value_heads": 2, "intermediate_size": 96}),
    "mixtral": (
        hf.MixtralForCausalLM,
        {"num_key_value_heads": 2, "intermediate_size": 96, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "bert": (hf.BertModel, {"intermediate_size": 96, "max_position_embeddings": 40}),
    "gpt2": (hf.GPT2LMHeadModel, {"n_positions": 40}),
}


def tiny(name, **more):
    architecture, sizes = TINY[name]
    sizes = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4} | sizes | more
    form = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")) | {"attn_implementation": "eager"}
    config = architecture.config_class(**sizes, **form)
    config._experts_implementation = "eager"  # product by product: the counter knows no grouped ones
    torch.manual_seed(0)
    return architecture(config).eval(), cost.TransformerShape.from_config(config)


@pytest.fixture(scope="module", params=REAL)
def real(request):
    architecture, sizes = REAL[request.param]
    config = architecture.config_class(**sizes)
    with torch.device("meta"):
        return architecture(config), cost.TransformerShape.from_config(config)


class TestParameters:
    def test_equal_those_of_the_real_model_to_the_last_one(self, real):
        model, shape = real
        assert cost.parameters(shape).total == sum(p.numel() for p in model.parameters())

    def test_each_part_is_the_models_part(self, real):
        model, shape = real
        seen = dict.fromkeys(("embedding", "attention", "feed_forward", "router", "norms", "head"), 0)
        for name, p in model.named_parameters():
            words = {
                "norms": ("norm", "ln_", "LayerNorm"),
                "head": ("lm_head", "pooler"),
                "embedding": ("embed", "wte", "wpe"),
                "router": (".gate.", "router"),
                "attention": ("attn", "attention"),
            }
            part = next((k for k, ws in words.items() if any(w in name for w in ws)), "feed_forward")
            seen["router" if name.endswith(("mlp.gate.weight",)) else part] += p.numel()
        mine = cost.parameters(shape).parts()
        mine["feed_forward"] += mine.pop("idle_experts")
        assert mine == seen

    def test_active_ones_leave_the_idle_experts_out(self):
        shape = cost.TransformerShape.from_config(hf.MixtralConfig(vocab_size=32000, num_key_value_heads=8))
        size = cost.parameters(shape)
        assert round(size.total / 1e9, 1) == 46.7  # as the paper's authors state
        assert round(size.active / 1e9, 1) == 12.9

    def test_a_shape_that_is_wrong_by_one_head_is_told_apart(self):
        shape = cost.TransformerShape.from_config(hf.MistralConfig(num_key_value_heads=4))
        with torch.device("meta"):
            model = hf.MistralForCausalLM(hf.MistralConfig(num_key_value_heads=8))
        assert cost.parameters(shape).total != sum(p.numel() for p in model.parameters())


def counted(model, ids, backward=False):
    with FlopCounterMode(display=False) as counter:
        out = model(ids, use_cache=False) if model.config.model_type != "bert" else model(ids)
        if backward:
            (out.logits if "logits" in out else out.pooler_output).sum().backward()
    return counter.get_total_flops()


class TestOperations:
    @pytest.mark.parametrize("name", TINY)
    def test_equal_pytorchs_count(self, name):
        model, shape = tiny(name)
        ids = torch.randint(0, 100, (3, 20))
        assert counted(model, ids) == cost.forward_operations(shape, tokens=20, texts=3).total

    @pytest.mark.parametrize("name", ["gpt2", "llama"])
    def test_of_training_are_three_times_as_many(self, name):
        model, shape = tiny(name)
        ids = torch.randint(0, 100, (3, 20))
        assert counted(model, ids, backward=True) == cost.training_operations(shape, tokens=20, texts=3).total

    def test_with_checkpointing_are_those_of_pytorchs_checkpointing(self):
        model, shape = tiny("gpt2")
        model.train()
        checkpoint_blocks(model)
        ids = torch.randint(0, 100, (2, 30))
        expected = cost.training_operations(shape, tokens=30, texts=2, checkpointing=True)
        plain = cost.training_operations(shape, tokens=30, texts=2)
        assert counted(model, ids, backward=True) == expected.total
        assert 1.2 < expected.total / plain.total < 4 / 3

    def test_with_a_cache_add_up_to_those_without(self):
        shape = tiny("llama")[1]
        whole = cost.forward_operations(shape, tokens=50, causal=True).total
        steps = [cost.forward_operations(shape, tokens=1, cached=t).total for t in range(50)]
        assert sum(steps) == pytest.approx(whole, rel=1e-12)

    def test_a_wide_model_on_short_texts_takes_six_n_d(self):
        shape = cost.TransformerShape(layers=96, width=12288, heads=96, vocabulary=50257, positions=2048)
        exact = cost.training_operations(shape, tokens=2048).total / 2048
        rule = cost.six_n_d(cost.parameters(shape).total, 1)
        assert 1 < exact / rule < 1.05
        assert rule * 300e9 == pytest.approx(3.14e23, rel=0.01)


def checkpoint_blocks(model):
    """Let each block of a GPT-2 keep its input alone, by PyTorch's own checkpointing."""
    for block in model.transformer.h:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def tensor_bytes(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


class TestStates:
    def test_in_32_bits_are_what_adamw_keeps(self):
        model, shape = tiny("gpt2")
        optimiser = torch.optim.AdamW(model.parameters())
        model(torch.zeros(1, 5, dtype=torch.long)).logits.sum().backward()
        optimiser.step()
        size = cost.states(cost.parameters(shape).total, precision="float32")
        assert size.weights == tensor_bytes(model.parameters())
        assert size.gradients == tensor_bytes(p.grad for p in model.parameters())
        moments = [t for s in optimiser.state.values() for t in (s["exp_avg"], s["exp_avg_sq"])]
        assert size.moments == tensor_bytes(moments)
        assert size.master == 0

    def test_in_mixed_precision_are_what_the_usual_recipe_keeps(self):
        layer = torch.nn.Linear(30, 20).bfloat16()
        master = [p.detach().float().requires_grad_() for p in layer.parameters()]
        optimiser = torch.optim.AdamW(master)
        layer(torch.ones(1, 30).bfloat16()).sum().backward()
        for copy, p in zip(master, layer.parameters(), strict=True):
            copy.grad = p.grad.float()
        optimiser.step()
        moments = [t for s in optimiser.state.values() for t in (s["exp_avg"], s["exp_avg_sq"])]
        kept = [tensor_bytes(layer.parameters()), tensor_bytes(p.grad for p in layer.parameters())]
        assert [*cost.states(620).parts().values()] == [*kept, tensor_bytes(master), tensor_bytes(moments)]
        assert cost.states(620).total == 16 * 620

    def test_stages_divide_one_part_after_the_other(self):
        sizes = [cost.states(1e9, stage=stage, gpus=64).total / 1e9 for stage in range(4)]
        # the figures of Rajbhandari et al. (2020), section 3: 16, 4 + 12/64, 2 + 14/64, 16/64
        assert sizes == pytest.approx([16, 4 + 12 / 64, 2 + 14 / 64, 0.25])

    @pytest.mark.parametrize("wrong", [{"stage": 4}, {"gpus": 0}, {"precision": "fp4"}, {"optimiser": "magic"}])
    def test_what_does_not_exist_is_refused(self, wrong):
        with pytest.raises(InputError):
            cost.states(1e9, **wrong)


def kept_bytes(run, parameters):
    """Bytes that autograd keeps for the backward pass, each storage once, the parameters left out."""
    own, kept = {p.untyped_storage().data_ptr() for p in parameters}, {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = run()
    return sum(size for size, _ in kept.values()), alive


def model_bytes(name, layers, tokens=32, texts=4, **more):
    model, shape = tiny(name, num_hidden_layers=layers, **more)
    model.train(bool(more))
    ids = torch.randint(0, 100, (texts, tokens))
    return kept_bytes(lambda: model(ids, use_cache=False).logits, model.parameters())[0], shape


class TestActivations:
    @pytest.mark.parametrize("fused", [False, True], ids=["written-out", "fused"])
    def test_of_a_gpt2_block_are_those_that_autograd_keeps(self, fused):
        kind = {"activation_function": "gelu_pytorch_tanh"}
        three, two = (model_bytes("gpt2", n, **kind, **dict.fromkeys(DROPOUTS, 0.0))[0] for n in (3, 2))
        shape = tiny("gpt2", num_hidden_layers=1)[1]
        mine = cost.activations(shape, tokens=32, texts=4, number=4, fused=fused)
        block = mine.total - mine.head
        statistics = 4 * 32 * 4 * 4  # mean and deviation of two LayerNorms, 4 bytes each, per token
        scores = 4 * 4 * 4 * 32 * 32
        assert three - two == block + statistics + fused * scores

    def test_of_a_llama_block_lack_less_than_a_fifth(self):
        three, two = (model_bytes("llama", n)[0] for n in (3, 2))
        mine = cost.activations(tiny("llama", num_hidden_layers=1)[1], tokens=32, texts=4, number=4)
        # rotary positions and RMSNorm, written out by transformers, keep more than fused kernels do
        assert 0.8 < (mine.total - mine.head) / (three - two) < 1.0

    def test_with_dropout_lack_less_than_a_fifth(self):
        kind = {"activation_function": "gelu_pytorch_tanh"}
        three, two = (model_bytes("gpt2", n, **kind, **dict.fromkeys(DROPOUTS, 0.1))[0] for n in (3, 2))
        mine = cost.activations(tiny("gpt2")[1], tokens=32, texts=4, number=4, dropout=True)
        # on a CPU a mask is kept as numbers of 4 bytes, on a GPU as single bytes
        assert 0.8 < (mine.total - mine.head) / 2 / (three - two) < 1.0

    @pytest.mark.parametrize(("checkpointing", "factor"), [("none", None), ("selective", 34), ("full", 2)])
    def test_follow_the_papers_formulas(self, checkpointing, factor):
        shape = cost.TransformerShape(layers=96, width=12288, heads=96, vocabulary=51200, head="none")
        mine = cost.activations(shape, tokens=2048, texts=1, dropout=True, checkpointing=checkpointing)
        factor = factor or 34 + 5 * 96 * 2048 / 12288
        assert mine.total - mine.workspace == 2048 * 12288 * 96 * factor

    def test_with_full_checkpointing_a_block_keeps_its_input_alone(self):
        held = []
        for layers in (3, 2):
            model, shape = tiny("gpt2", num_hidden_layers=layers, **dict.fromkeys(DROPOUTS, 0.0))
            checkpoint_blocks(model)
            ids = torch.randint(0, 100, (4, 32))
            held.append(kept_bytes(lambda m=model, ids=ids: m(ids, use_cache=False).logits, model.parameters())[0])
        mine = cost.activations(shape, tokens=32, texts=4, number=4, checkpointing="full")
        assert held[0] - held[1] == mine.inputs / shape.layers
        whole = cost.activations(shape, tokens=32, texts=4, number=4)
        assert shape.layers * mine.workspace == whole.total - whole.head

    def test_a_fault_is_told_what_is_known(self):
        with pytest.raises(InputError, match="selective"):
            cost.activations(tiny("gpt2")[1], tokens=8, checkpointing="some")


DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")


class TestCache:
    @pytest.mark.parametrize("name", ["gpt2", "llama", "mixtral"])
    def test_is_what_the_model_keeps(self, name):
        model, shape = tiny(name)
        with torch.no_grad():
            cache = model(torch.randint(0, 100, (3, 17)), use_cache=True).past_key_values
        held = tensor_bytes(t for block in cache.layers for t in (block.keys, block.values))
        assert held == cost.kv_cache(shape, tokens=17, texts=3, number=4)

    def test_shrinks_with_grouped_queries(self):
        sizes = {"layers": 80, "width": 8192, "heads": 64, "vocabulary": 32000}
        full, grouped = (cost.TransformerShape(**sizes, kv_heads=kv) for kv in (64, 8))
        assert cost.kv_cache(full, tokens=4096) == 8 * cost.kv_cache(grouped, tokens=4096)


class TestShapes:
    def test_what_is_left_out_follows_from_the_width(self):
        shape = cost.TransformerShape(layers=2, width=64, heads=4, vocabulary=10)
        assert (shape.kv_heads, shape.head_width, shape.hidden) == (4, 16, 256)

    @pytest.mark.parametrize(
        "wrong",
        [{"layers": 0}, {"heads": 6, "kv_heads": 4}, {"experts": 2, "active_experts": 3}, {"norm": "batch"}],
        ids=str,
    )
    def test_sizes_that_make_no_network_are_refused(self, wrong):
        with pytest.raises(InputError):
            cost.TransformerShape(**{"layers": 2, "width": 60, "heads": 6, "vocabulary": 10} | wrong)

    @pytest.mark.parametrize(
        "config",
        [
            hf.LlamaConfig(attention_bias=True),
            hf.Qwen3MoeConfig(mlp_only_layers=[0]),
            hf.Qwen3MoeConfig(decoder_sparse_step=2),
            hf.GPT2Config(add_cross_attention=True),
        ],
        ids=["bias", "dense-block", "sparse-step", "cross-attention"],
    )
    def test_a_configuration_that_it_would_count_wrongly_is_refused(self, config):
        with pytest.raises(InputError, match="plain"):
            cost.TransformerShape.from_config(config)

    def test_a_model_type_that_it_does_not_know_is_named(self):
        with pytest.raises(InputError, match="t5"):
            cost.TransformerShape.from_config(hf.T5Config())
