"""The stages of a run on tensors without memory: their weights, their largest working memory, and their operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from palate.align.batches import Batch, predicted
from palate.align.config import AlignConfig
from palate.align.encoders import PROMPTS_AT_ONCE, Encoders
from palate.align.estimate.few_bits import in_few_bits, saved_by_quantizing
from palate.align.estimate.optimizers import optimizer_work
from palate.align.estimate.precision import autocast_of
from palate.align.estimate.trace import Trace, Work, measured, tracing
from palate.align.reference_errors import REFERENCE_AT_ONCE
from palate.align.stage import make_trainable
from palate.models.attention import use_plain_attention
from palate.models.buckets import Bucket
from palate.models.conditioning import Conditioning
from palate.models.denoiser import Denoiser
from palate.models.frames import Frames
from palate.models.quiet import quiet_libraries
from palate.models.source import ModelSource
from palate.models.weightless import configuration_source, narrow_weights, weightless_denoiser
from palate.objectives.error import mean_error


@dataclass(frozen=True)
class Setting:
    """Where and on what a run would work.

    Attributes:
        device: the kind of device, such as `cuda`.
        dtype: the dtype in which the network computes.
        resolution: width and height in pixels of a square with as many pixels as the largest images.
        images: the images of an example.
        micro_batch: examples per forward pass.
        reference: whether the base model's errors are measured.
        prompts: the longest prompts, at most `PROMPTS_AT_ONCE`.
        follows: whether the reference is an average of the weights in training.
    """

    device: str
    dtype: torch.dtype
    resolution: int
    images: int
    micro_batch: int
    reference: bool
    prompts: tuple[str, ...]
    follows: bool = False


@dataclass(frozen=True)
class RunStage:
    """One stage of a run.

    Attributes:
        name: encode, reference or train.
        weights: bytes of the weights that are in memory.
        state: bytes of gradients, the optimiser's state and a moving average.
        working: largest sum of bytes of all other tensors at one time.
        parts: the work of each repeated part, by its name.
    """

    name: str
    weights: int
    state: int
    working: int
    parts: dict[str, Work]

    @property
    def bytes(self) -> int:
        """The largest memory of all tensors at one time."""
        return self.weights + self.state + self.working


def trace_stages(config: AlignConfig, source: ModelSource, setting: Setting) -> list[RunStage]:
    """The stages of a run, from the model's configuration alone.

    Args:
        config: the configuration of the run.
        source: the model.
        setting: where and on what it works.

    Raises:
        InputError: see `weightless_denoiser`.
    """
    with tracing() as trace, torch.random.fork_rng(devices=[]):
        denoiser = weightless_denoiser(configuration_source(source))
        encoders = _encoders_of(denoiser)
        trace.exclude(denoiser.network)
        for each in encoders:
            narrow_weights(each, torch.float32)  # a configuration may name another dtype
        trace.exclude(*encoders)
        held = sum(map(bytes_of, encoders))
        encode, latents, conditioning = _encode(denoiser, source, config, setting, trace, held)
        kept = held if config.latents == "streamed" else 0
        narrow_weights(denoiser.network, setting.dtype if config.train == "lora" else torch.float32)
        trace.exclude(denoiser.network)
        train = _Training(config, setting, denoiser, trace, latents, conditioning, kept)
        return [encode, *([train.reference()] if setting.reference else []), train.train()]


def bytes_of(module: nn.Module) -> int:
    """The bytes of a module's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def encoders_at_once(source: ModelSource, resolution: int) -> int:
    """How many images of a resolution are encoded in one batch."""
    return Encoders(source, torch.device("cpu")).images_at_once(Bucket(resolution, resolution))


def _encoders_of(denoiser: Denoiser) -> list[nn.Module]:
    parts = denoiser.pipeline.components.values()
    return [part for part in parts if isinstance(part, nn.Module) and part is not denoiser.network]


def _encode(
    denoiser: Denoiser, source: ModelSource, config: AlignConfig, setting: Setting, trace: Trace, held: int
) -> tuple[RunStage, Tensor, Conditioning]:
    """The stage, one latent [1, C, h, w], and the conditioning of the prompts.

    An autoencoder works image by image, so its time is that of one; its memory is that of a whole batch.
    """
    at_once = encoders_at_once(source, setting.resolution)
    pixels = 3, setting.resolution, setting.resolution
    before = trace.live
    latents, image = measured(trace, lambda: denoiser.encode(torch.zeros(1, *pixels)))
    _, images = measured(trace, lambda: denoiser.encode(torch.zeros(at_once, *pixels)))
    texts = [setting.prompts[place % len(setting.prompts)] for place in range(PROMPTS_AT_ONCE)]
    with quiet_libraries():  # they print every prompt that is longer than the text encoder reads
        conditioning, prompts = measured(trace, lambda: denoiser.encode_prompt(texts))
    working = max(images.peak, prompts.peak) - before
    return RunStage("encode", held, 0, working, {"image": image, "prompts": prompts}), latents, conditioning


class _Training:
    """The stages with the network."""

    def __init__(
        self,
        config: AlignConfig,
        setting: Setting,
        denoiser: Denoiser,
        trace: Trace,
        latents: Tensor,
        conditioning: Conditioning,
        kept: int,
    ) -> None:
        self.config, self.setting, self.denoiser, self.trace, self.kept = config, setting, denoiser, trace, kept
        self.latents, self.conditioning = latents, conditioning.to("cpu", setting.dtype)
        network = denoiser.network
        _, height, width = latents.shape[1:]
        use_plain_attention(network, height * width, setting.device, setting.dtype)
        self.saved = saved_by_quantizing(network, config.quantize) if config.quantize else 0
        if config.quantize:
            in_few_bits(network, config.quantize)
        self.base = trace.live

    def reference(self) -> RunStage:
        """Forward passes without gradients."""
        rows = REFERENCE_AT_ONCE * self.setting.micro_batch
        weights = self.kept + bytes_of(self.denoiser.network) - self.saved

        def forward() -> Tensor:
            with torch.no_grad(), autocast_of(self.setting.device):
                return self._errors(rows)

        work = measured(self.trace, forward)[1]
        return RunStage("reference", weights, 0, work.peak - self.base, {"forward": work})

    def train(self) -> RunStage:
        """Steps of the optimiser."""
        network, config, base = self.denoiser.network, self.config, self.base
        make_trainable(network, config, self.denoiser.lora_targets)
        self.trace.exclude(network)
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        _optimizer, state, update = optimizer_work(network, config, self.trace)
        if config.batch > self.setting.micro_batch:  # gradients are in memory from the first micro-batch on
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
        rows = self.setting.micro_batch * self.setting.images

        def step() -> None:
            with autocast_of(self.setting.device):  # around the backward pass too, which may compute forward again
                step_loss(lambda: self._errors(rows), self.setting).div(config.batch).backward()

        _, work = measured(self.trace, step)
        gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
        average = gradients * (bool(config.ema) + 2 * self.setting.follows)  # one is kept aside in a forward pass
        held = state + gradients
        peak = max(work.peak, update.peak) - base
        working = max(0, peak - held)
        weights = self.kept + bytes_of(network) - self.saved
        parts = {"micro-batch": work, "update": update}
        return RunStage("train", weights, held + average, working, parts)

    def _errors(self, rows: int) -> Tensor:
        return errors_of(self.denoiser, self.setting, self.latents, self.conditioning, rows)


def step_loss(errors: Callable[[], Tensor], setting: Setting) -> Tensor:
    """A loss of one micro-batch, with the forward passes that a step makes.

    Args:
        errors: a forward pass of the policy.
        setting: whether the reference makes another one.
    """
    with torch.no_grad():
        reference = errors() if setting.follows else 0.0
    return (errors() - reference).mean()


def errors_of(denoiser: Denoiser, setting: Setting, latents: Tensor, conditioning: Conditioning, rows: int) -> Tensor:
    """The errors [R] of R images of random numbers in one forward pass.

    Args:
        denoiser: the model.
        setting: on what it works.
        latents: of any image [1, C, h, w].
        conditioning: of any prompts.
        rows: R.
    """
    x_0 = torch.randn(rows, *latents.shape[1:], device=latents.device)
    place = torch.arange(rows) % len(conditioning)
    pixels = setting.resolution
    image = denoiser.image_conditioning(Frames.whole(rows, pixels, pixels)).to(latents.device)
    schedule = denoiser.schedule((int(x_0.shape[-2]), int(x_0.shape[-1])))
    t = schedule.sample_t(torch.linspace(0.1, 0.9, rows, dtype=torch.float64)).to(latents.device)
    batch = Batch(x_0, t, torch.randn_like(x_0), conditioning[place].merged(image), schedule)
    return mean_error(predicted(denoiser, batch, setting.dtype), batch.target)
