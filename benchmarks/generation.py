"""Writing text with a key-value cache, without one, and by `transformers.generate`, from the same weights.

A small GPT-2 with random weights, copied by `Decoder.from_gpt2`; the likeliest token is taken, so all three must write
the same text, which is asserted. CPU time on one thread; contestants take turns; ratios are medians over the turns.

    python -m benchmarks.generation [--repeats 5] [--save]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.saved import save

PROMPT, CASES = 16, ((1, 64), (1, 240), (8, 64))  # cases: prompts, new tokens
SIZES = {"vocab_size": 2048, "n_positions": 256, "n_embd": 192, "n_head": 6, "n_layer": 6}


def contestants(new_tokens: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return functions that continue prompts (B, T) by `new_tokens` tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from bigmodel_lab.models.transformer import Decoder, generate

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0)).eval()
    ours = Decoder.from_gpt2(theirs)

    def hugging_face(ids: Tensor) -> Tensor:
        return theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )

    return {
        "with cache": lambda ids: generate(ours, ids, new_tokens, temperature=0),
        "without cache": lambda ids: generate(ours, ids, new_tokens, temperature=0, cache=False),
        "transformers": hugging_face,
    }


def compare(batch: int, new_tokens: int, repeats: int) -> list[dict]:
    """Print and return CPU-seconds and ratios for `batch` prompts continued by `new_tokens` tokens."""
    prompts = torch.randint(SIZES["vocab_size"], (batch, PROMPT), generator=torch.Generator().manual_seed(1))
    writers = contestants(new_tokens)
    texts = [write(prompts) for write in writers.values()]  # warms up too
    assert all(torch.equal(text, texts[0]) for text in texts), "three ways, three texts"
    times: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(repeats):
        for name, write in writers.items():
            start = time.process_time()
            write(prompts)
            times[name].append(time.process_time() - start)
    rows = []
    for name, values in times.items():
        ratios = sorted(value / mine for value, mine in zip(values, times["with cache"], strict=True))
        speed = batch * new_tokens / statistics.median(values)
        rows.append({"batch": batch, "new_tokens": new_tokens, "contestant": name, "tokens_per_cpu_second": speed})
        rows[-1] |= {"times_cache": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
        print(f"{batch:5} {new_tokens:7}  {name:14} {speed:9.0f} {statistics.median(ratios):8.2f}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/generation.json")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # transformers', not ours
    torch.set_num_threads(1)
    print("batch  tokens  contestant      tokens/s  x cache")
    rows = [row for batch, new_tokens in CASES for row in compare(batch, new_tokens, options.repeats)]
    if options.save:
        result = {"repeats": options.repeats, "prompt_tokens": PROMPT, "model": SIZES, "rows": rows}
        save("generation", result, packages=("torch", "transformers"))


if __name__ == "__main__":
    main()
