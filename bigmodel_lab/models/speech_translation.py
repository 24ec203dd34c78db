"""From speech in one language to writing in another in one network: what is heard is the memory of a decoder.

Sources: Bérard et al. (2016), arXiv 1612.01744; Weiss et al. (2017), arXiv 1703.08581 (speech to the other language's
text, without the text in between); Chan et al. (2016), arXiv 1508.01211 (a recogniser of this kind). The listener is
that of `models.ctc`, the decoder with its attention that of `models.seq2seq`.
Dimension letters: B batch, F frames, M mel bands, G frames after the convolutions, T target tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.ctc import Listener, ListenerConfig
from bigmodel_lab.models.sampling import evaluating
from bigmodel_lab.models.seq2seq import AttentionDecoder, DecoderConfig

__all__ = ["SpeechTranslator", "SpeechTranslatorConfig", "speech_forcing", "write"]


@dataclass(frozen=True, kw_only=True)
class SpeechTranslatorConfig(ListenerConfig):
    """Sizes of a listener, and of the decoder that writes what was said."""

    vocabulary: int  # V, target ids 0 to V - 1; 0 fills up short targets
    context: int = 16  # T, tokens of each target as the model is trained, end token included
    score: str = "additive"  # of the attention, see `models.seq2seq.DecoderConfig`

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        super().__post_init__()
        self.decoder  # noqa: B018 - its config has checks of its own

    @property
    def decoder(self) -> DecoderConfig:
        """The decoder's sizes: states and memory as wide as both directions of the listener."""
        return DecoderConfig(
            vocabulary=self.vocabulary,
            context=self.context,
            width=2 * self.width,
            score=self.score,
            dropout=self.dropout,
        )


def speech_forcing(features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `fit` needs from log-mel spectrograms (N, F, M) and target ids (N, T + 1), a start token first.

    Inputs are (N, F + T, M): the frames, then one row a token of the target without its last one, the id in every band.
    Targets are (N, T): the target without its first token, padding (0) replaced by -100, which a loss leaves out.
    """
    if features.ndim != 3 or target.ndim != 2 or len(features) != len(target) or target.shape[1] < 2:
        got = f"{tuple(features.shape)} and {tuple(target.shape)}"
        raise InputError("spectrograms (N, F, M) and targets (N, T + 1) with a start token", got=got)
    rows = target[:, :-1, None].to(features).expand(-1, -1, features.shape[2])  # (N, T, M)
    following = target[:, 1:]
    return torch.cat((features, rows), 1), following.masked_fill(following == 0, -100)


class SpeechTranslator(nn.Module):
    """Log-mel spectrogram and shifted target, (B, F + T, M) as `speech_forcing` packs them -> logits (B, T, V)."""

    def __init__(self, config: SpeechTranslatorConfig) -> None:
        """Build listener and decoder; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        self.listener, self.decoder = Listener(config), AttentionDecoder(config.decoder)

    def forward(self, packed: Tensor) -> Tensor:
        """Map (B, F + T, M), the last T = `config.context` rows of it target ids, to logits (B, T, V)."""
        features, target = self._split(packed)
        return self.decoder(target, self.listener(features))

    def alignment(self, packed: Tensor) -> Tensor:
        """Return where each target token listens, (B, T, G), for the same input as `forward`."""
        features, target = self._split(packed)
        return self.decoder.attend(target, self.listener(features))[1]

    def _split(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Take frames (B, F, M) and ids (B, T) apart."""
        frames = packed.shape[1] - self.config.context if packed.ndim == 3 else 0
        if frames < 1:
            raise InputError(
                f"(B, F + {self.config.context}, M), at least one frame before the {self.config.context} target rows",
                got=f"shape {tuple(packed.shape)}",
                hint="speech_forcing(features, target); write(model, features, …) without a target",
            )
        return packed[:, :frames], packed[:, frames:, 0].round().long()


@torch.no_grad()
def write(model: SpeechTranslator, features: Tensor, *, start: int, stop: int, batch_size: int = 256) -> Tensor:
    """Return the likeliest target, token by token, for log-mel spectrograms (N, F, M): ids (N, context).

    `start` is not among them; a target ends with `stop`, and zeros follow. The model runs in evaluation mode, on the
    device where it is, and keeps the mode it had; the ids come back on the CPU.
    """
    known = model.config.vocabulary
    if not (0 <= start < known and 0 <= stop < known):
        raise InputError(f"start and stop, ids from 0 to {known - 1}", got=f"start={start}, stop={stop}")
    where, parts = next(model.parameters()).device, []
    with evaluating(model):
        for part in features.split(batch_size):
            memory, cache = model.listener(part.to(where)), model.decoder.new_cache()
            token = torch.full((len(part), 1), start, device=where)
            ended, ids = torch.zeros_like(token, dtype=torch.bool), []
            for _ in range(model.config.context):
                logits = model.decoder.head(model.decoder.states(token, memory, cache=cache))  # (B, 1, V)
                token = logits.argmax(-1)
                ids.append(token.masked_fill(ended, 0))
                ended = ended | (token == stop)
            parts.append(torch.cat(ids, 1).cpu())
    return torch.cat(parts)
