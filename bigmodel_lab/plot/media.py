"""Sound and motion in a page: an audio player and a short animation, each one self-contained piece of HTML.

No script and nothing from the network, so they work offline, on the page, in JupyterLab and in Colab.
Dimension letters: T frames or samples, C channels, H height, W width.
"""

from base64 import b64encode
from html import escape
from io import BytesIO

import numpy as np

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.html import Html

__all__ = ["animation", "audio"]

ROUNDS = 3  # times that an animation runs before it rests: a page must not flicker for ever


def audio(wave, rate: int, label: str = "") -> Html:
    """Return a player for `wave` (T,), numbers in [-1, 1] at `rate` samples a second, with `label` under it.

    The sound lies inside as FLAC, without loss at 16 bits: a second of speech at 8000 Hz takes about 10 kB.
    Louder samples are refused rather than clipped; NaN and silence as well.
    """
    import soundfile

    samples = np.asarray(wave.detach().cpu() if hasattr(wave, "detach") else wave, dtype=np.float64)
    if samples.ndim != 1 or not samples.size or rate < 1:
        raise InputError(
            "samples of shape (T,) and a rate in hertz", got=f"shape {samples.shape}, rate {rate}", hint="waves[0]"
        )
    loudest = np.abs(samples).max()
    if not 0 < loudest <= 1:
        raise InputError(
            "samples in [-1, 1], and not all 0", got=f"largest magnitude {loudest:.3g}", hint="wave / wave.abs().max()"
        )
    file = BytesIO()
    soundfile.write(file, samples, int(rate), format="FLAC", subtype="PCM_16")
    said = escape(label, quote=True)
    text = (
        '<figure style="margin:.5rem 0"><audio controls preload="none" style="max-width:100%" '
        f'aria-label="{said or "sound"}" src="data:audio/flac;base64,{b64encode(file.getvalue()).decode()}"></audio>'
        f"{f'<figcaption>{said}</figcaption>' if label else ''}</figure>"
    )
    return Html(text, f"{len(samples) / rate:.1f} s of sound{f': {label}' if label else ''}")


def animation(frames, *, fps: float = 8, label: str = "", scale: int = 4) -> Html:
    """Return `frames` (T, C, H, W), C = 1 or 3, values in [0, 1], as a short animation with `label` under it.

    It runs three times, then rests on its first frame; a tick in the box runs it again. Where the reader's system asks
    for less motion, it waits for that tick. Each pixel is drawn `scale` times as large, unsmoothed.
    """
    from PIL import Image

    values = np.asarray(frames.detach().cpu() if hasattr(frames, "detach") else frames, dtype=np.float64)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or not values.size:
        raise InputError("frames of shape (T, C, H, W) with C = 1 or 3", got=f"shape {values.shape}", hint="clips[0]")
    if not (values.min() >= 0 and values.max() <= 1):
        raise InputError("values in [0, 1]", got=f"{values.min():.3g} to {values.max():.3g}", hint="frames.clamp(0, 1)")
    if fps <= 0 or scale < 1:
        raise InputError("fps above 0 and a scale of at least 1", got=f"fps={fps}, scale={scale}")
    count, channels, height, width = values.shape
    strip = (255 * values).round().astype(np.uint8).transpose(0, 2, 3, 1).reshape(count * height, width, channels)
    file = BytesIO()
    Image.fromarray(strip if channels == 3 else strip[..., 0]).save(file, "PNG", optimize=True)
    key = f"lab-motion-{count}-{height * scale}"  # equal keys hold equal rules
    said = escape(label, quote=True)
    size = f"width:{width * scale}px;height:{height * scale}px;background-size:{width * scale}px auto"
    image = f"background-image:url(data:image/png;base64,{b64encode(file.getvalue()).decode()})"
    text = (
        f"<style>{_rules(key, count, height * scale, count / fps)}</style>"
        f'<figure class="{key}" style="margin:.5rem 0"><label>'
        f'<input type="checkbox"> play again<div role="img" aria-label="{said or "animation"}" style="{size};{image};'
        'image-rendering:pixelated"></div></label>'
        f"{f'<figcaption>{said}</figcaption>' if label else ''}</figure>"
    )
    return Html(text, f"{count} frames{f': {label}' if label else ''}")


def _rules(key: str, count: int, height: int, seconds: float) -> str:
    """Return the style sheet of an animation; the same motion has two names, so that a tick starts it anew."""
    moves = "".join(f"@keyframes {key}-{name}{{to{{background-position-y:-{count * height}px}}}}" for name in "ab")
    run = f"{seconds:.3g}s steps({count}) {ROUNDS}"
    return (
        f"{moves}.{key} label{{display:inline-block;cursor:pointer}}.{key} div{{animation:{key}-a {run}}}"
        f"@media(prefers-reduced-motion:reduce){{.{key} div{{animation:none}}}}"
        f".{key} input:checked~div{{animation:{key}-b {run}}}"
    )
