"""The configurations of reward training. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from palate.training.config import TrainingConfig, below_zero, not_above_zero

if TYPE_CHECKING:
    from palate.reward.tasks import Task

LEARNING_RATES = {"head": 1e-3, "lora": 1e-4, "full": 3e-6}
STATISTICS = "statistics"


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    """The settings that every reward has."""

    backbone: str = "tiny-clip"
    """Model that computes the features of image and prompt: a built-in name, a folder or a hub id of a CLIP-like model
    (CLIP, PickScore, SigLIP), or `statistics` of the image, which need no download and read no prompt."""
    train: Literal["head", "lora", "full"] = "head"
    """Train only the head (features are computed once), the head and a low-rank adapter, or all weights."""
    head: Literal["mlp", "linear", "cosine"] | None = None
    """Function from features to the reward: a small network, a linear map, or CLIP's own cosine, as in PickScore. When
    left out, mlp, or linear for statistics."""
    hidden: tuple[int, ...] = (256,)
    """Size of each hidden layer of an mlp."""
    rank: int = 16
    """Rank of the adapter."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """Endings of the names of the layers that get an adapter."""
    lr: float | None = None
    """Learning rate. When left out, 1e-3 for a head, 1e-4 for an adapter (ours), 3e-6 for all weights (PickScore's)."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises linearly."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant, or falling to zero linearly or along half a cosine."""
    weight_decay: float = 0.1
    """AdamW's decoupled weight decay."""
    validation: float = 0.1
    """Share of the prompts that are held out of training, for validation."""
    folds: int = 0
    """Number of folds of the prompts for cross-validation: for each fold another reward is trained on all other folds
    and tested on this one, and the results cover all prompts; 0 turns it off."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the backbone while it trains; auto is bf16 where the hardware has it, fp16 on other CUDA cards,
    otherwise fp32. With fp16 the loss is scaled, and a step whose gradients overflow is skipped."""
    cache: Path | None = None
    """Where features are kept for later runs; $PALATE_CACHE or ~/.cache/palate."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl, each the mean over its steps."""

    def problems(self) -> Iterator[str]:
        """See `TrainingConfig.problems`."""
        yield from super().problems()
        yield from not_above_zero(self, "rank")
        if not 0 <= self.validation < 1:
            yield f"validation must be a share of at least 0 and below 1, not {self.validation}"
        if self.folds < 0 or self.folds == 1:
            yield f"folds must be 2 or more, or 0 for none, not {self.folds}"
        if any(size <= 0 for size in self.hidden):
            yield f"hidden must list sizes above zero, not {self.hidden}"
        if not self.targets:
            yield "targets must name at least one layer, such as q_proj"
        yield from self._mismatched()

    def _mismatched(self) -> Iterator[str]:
        """A message for each combination of backbone, head and trained part that is impossible."""
        if self.backbone == STATISTICS and self.train != "head":
            yield "statistics have no weights to train; give --train head, or another backbone"
        if self.backbone == STATISTICS and self.head == "cosine":
            yield "the cosine needs a CLIP-like backbone; statistics take --head linear or mlp"
        if self.head == "cosine" and self.train == "head":
            yield "the cosine has no weights to train; give --train lora or full, or --head mlp"

    def task(self) -> Task:
        """The task that this configures."""
        raise NotImplementedError(f"{type(self).__name__} belongs to no task; use one of palate.reward.config")

    def learning_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.lr or LEARNING_RATES[self.train]

    def head_kind(self) -> Literal["mlp", "linear", "cosine"]:
        """The kind of head; when it was left out, it depends on the backbone."""
        return self.head or ("linear" if self.backbone == STATISTICS else "mlp")


@dataclass(frozen=True, kw_only=True)
class BradleyTerryConfig(RewardConfig):
    """A reward under which people's choices are likely (Bradley-Terry or Plackett-Luce)."""

    preferences: str
    """Rankings, as `palate align` takes them."""
    form: Literal["pairs", "lists"] = "pairs"
    """Bradley-Terry over the pairs of a set, or Plackett-Luce over its whole ranking; the same for two images."""
    votes: bool = True
    """Learn pairs from the share of raters that prefer each image, if a set has its raters' votes; otherwise, and with
    --no-votes, from the ranking. Lists are always learned from the ranking."""

    def task(self) -> Task:
        """What is learned, and from what."""
        from palate.reward.tasks import BradleyTerry

        return BradleyTerry(self)


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(RewardConfig):
    """A reward that predicts grades in [0, 1]."""

    grades: str
    """Graded images: a run of `palate prefer grade`, a Parquet file, or a folder with a table."""
    auxiliary: float = 0.5
    """Weight of the auxiliary task, which is to choose the prompt of a good image among perturbed ones; 0 turns it
    off."""
    perturbed: int = 4
    """Perturbed prompts per image; each differs in one attribute (a number, a colour, a shape, ...)."""
    temperature: float = 1.0
    """Temperature of the choice among prompts, in units of the reward, which is in [0, 1]; ours (docs/lab-notes.md)."""

    def problems(self) -> Iterator[str]:
        """See `TrainingConfig.problems`."""
        yield from super().problems()
        yield from below_zero(self, "auxiliary")
        yield from not_above_zero(self, "perturbed", "temperature")
        if self.head == "cosine":
            yield "a grade in [0, 1] needs --head mlp or linear, not the cosine"
        if self.auxiliary and self.backbone == STATISTICS:
            yield "statistics read no prompt, so --auxiliary must be 0 with them"

    def task(self) -> Task:
        """What is learned, and from what."""
        from palate.reward.tasks import Regression

        return Regression(self)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(RewardConfig):
    """A reward for how real an image looks, given its caption."""

    real: Path
    """Folder of real images with captions: a run of `palate caption`, or any ImageFolder."""
    generated: tuple[Path, ...]
    """Folders of images generated from the same captions, each a run of `palate generate`; together they have the same
    weight as the real ones."""

    def problems(self) -> Iterator[str]:
        """See `TrainingConfig.problems`."""
        yield from super().problems()
        if not self.generated:
            yield "generated must name at least one folder"

    def task(self) -> Task:
        """What is learned, and from what."""
        from palate.reward.tasks import Realism

        return Realism(self)


@dataclass(frozen=True, kw_only=True)
class RewardTestConfig:
    """The settings of `palate reward test`."""

    scorer: tuple[str, ...]
    """One scorer or more: reward:<run>, implicit:<run>, clip:<model>, image:<measure> or
    python:<module>:<factory>."""
    preferences: str
    """Rankings, as `palate align` takes them."""
    out: Path
    """Run folder."""
    prompts: Literal["unseen", "all"] = "unseen"
    """unseen leaves out every prompt that one of the scorers was trained on, as far as their runs list them; all keeps
    every prompt."""
    batch: int = 64
    """Images scored at once."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as reward:runs/reward")
        if self.batch <= 0:
            raise ValueError(f"batch must be above zero, not {self.batch}")
