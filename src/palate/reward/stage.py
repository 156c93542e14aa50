"""`palate reward train`: trains a reward and tests it on held-out prompts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palate import __version__
from palate.core.errors import InputError
from palate.core.json_files import write_json
from palate.core.progress import note
from palate.core.runs import RunFolder
from palate.core.seeds import derive
from palate.models.lora import add_lora
from palate.models.prompt_length import cut_off, note_cut_off
from palate.reward.comparisons import TieThreshold
from palate.reward.config import RewardConfig
from palate.reward.embed import CachedFeatures, ComputedFeatures
from palate.reward.examples import RewardExamples, fold_of, held_out
from palate.reward.tasks import Task
from palate.reward.trainer import RewardTrainer
from palate.reward.visits import Visits
from palate.score.backbone import Backbone, backbone_fingerprint, load_backbone, text_limits_of
from palate.score.reward import RewardCard, RewardModel
from palate.training.accelerator import compute_dtype, explain_memory, make_accelerator, micro_batch
from palate.training.config import FREE
from palate.training.row_cache import default_root
from palate.training.run_folder import abandoned_on_error, open_run
from palate.training.trackers import tracked

if TYPE_CHECKING:
    from accelerate import Accelerator

PROMPTS, TRAINED, HELD_OUT = "prompts.json", "trained", "held out"  # a file in a reward's folder, and its keys
FOLDS = "folds"


def train_reward(config: RewardConfig) -> Path:
    """Trains a reward; an interrupted run continues from its last checkpoint and ends with the same weights.

    Returns:
        The run folder: `reward:<run>` loads its `model/`, `metrics.jsonl` has the curves, and `summary.json` the
        results on the held-out prompts.

    Raises:
        PalateError: an input cannot be used; raised before any expensive work.
        KeyboardInterrupt: Ctrl-C was pressed; raised after a checkpoint, and the same call continues from there.
    """
    task = config.task()
    examples = task.examples()
    accelerator = make_accelerator(config.device, config.tracker, config.out)
    micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
    backbone = load_backbone(config.backbone)
    own = set(examples.own_prompts())
    validation = held_out(own, config.validation, config.seed)
    _require_prompts(config, len(own))
    inputs = {"feedback": examples.digest(), "backbone": backbone_fingerprint(backbone)}
    run = open_run(accelerator, f"reward train {task.name}", config, FREE, inputs)
    if run.finished:
        return run.path
    summary = _counted(examples, backbone, accelerator)
    if config.validation and not validation and accelerator.is_main_process:
        note("no prompt is held out: there is only one")
    is_held_out = np.array([prompt in validation for prompt in examples.prompts])[examples.prompt[:, 0]]
    training, outside = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    with explain_memory("a smaller --micro-batch (it changes no result) or --train head"):
        learner = _Learner(config, task, examples, _read(config, training, outside), accelerator, backbone)
        with abandoned_on_error(run), run.timer("train"), tracked(accelerator, config):
            trainer = learner.trainer(training, run)
            trainer.train(f"reward {task.name}")
        measured, tie = learner.judge(trainer, training, outside, run)
    if accelerator.is_main_process:
        chosen = {} if tie is None else {"tie": tie.value, "tie_chosen_on": tie.chosen_on}
        trainer.model.card = dataclasses.replace(trainer.model.card, **chosen)
        trainer.model.save(run.path / "model", {"palate": __version__, "training_steps": config.steps})
        prompts = {TRAINED: sorted(own - validation), HELD_OUT: sorted(validation)}
        write_json(run.path / "model" / PROMPTS, prompts)
        run.finish({**summary, **measured, "seconds": run.timings})
    accelerator.wait_for_everyone()
    return run.path


def _read(config: RewardConfig, training: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The numbers of the examples that a run reads: with folds all, otherwise those of its steps and held-out ones."""
    if config.folds:
        return np.arange(len(training) + len(outside))
    return np.union1d(training[Visits(config.seed, len(training), config.batch).visited(config.steps)], outside)


def _require_prompts(config: RewardConfig, prompts: int) -> None:
    """Raises InputError if there are fewer prompts than folds."""
    if config.folds > prompts:
        fix = f"give --folds {prompts} or fewer" if prompts > 1 else "give more feedback, or --folds 0"
        raise InputError(f"folds ({config.folds}) must not be more than the prompts ({prompts}); {fix}")


def _counted(examples: RewardExamples, backbone: Backbone, accelerator: Accelerator) -> dict[str, Any]:
    """The numbers of examples, images and cut-off prompts for the summary; prints a note on cut-off prompts."""
    cut = cut_off(examples.prompts, text_limits_of(backbone)) if accelerator.is_main_process else []
    return {"examples": len(examples), "images": len(examples.images), **note_cut_off(cut, backbone.name)}


class _Learner:
    """Makes trainers with one configuration for parts of the examples; together they read the `wanted` examples."""

    def __init__(
        self,
        config: RewardConfig,
        task: Task,
        examples: RewardExamples,
        wanted: np.ndarray,
        accelerator: Accelerator,
        backbone: Backbone,
    ) -> None:
        self.config, self.task, self.examples, self.accelerator = config, task, examples, accelerator
        self.wanted = wanted
        self.fresh: Backbone | None = backbone
        self.frozen: CachedFeatures | None = None

    def trainer(self, rows: np.ndarray, run: RunFolder | None) -> RewardTrainer:
        """A trainer of a new model on some of the examples."""
        config = self.config
        backbone, self.fresh = self.fresh or load_backbone(config.backbone), None
        card = RewardCard(
            kind=self.task.name,
            backbone=backbone.name,
            fingerprint=backbone_fingerprint(backbone),
            train=config.train,
            head=config.head_kind(),
            hidden=config.hidden,
            output=self.task.output,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(config.seed, "head"))
            model = RewardModel(backbone, card).to(self.accelerator.device)
        if backbone.network is not None:
            backbone.network.requires_grad_(config.train == "full")
            if config.train == "lora":
                add_lora(backbone.network, config.rank, config.rank, config.targets, config.seed)
        embed = self._embedding(backbone)
        return RewardTrainer(config, self.task, model, embed, self.examples.take(rows), run, self.accelerator)

    def _embedding(self, backbone: Backbone) -> CachedFeatures | ComputedFeatures:
        config = self.config
        if config.train != "head":
            return ComputedFeatures(
                backbone, self.examples, compute_dtype(config.precision, self.accelerator.device.type)
            )
        if self.frozen is None:
            root = (config.cache or default_root()) / "reward"
            about = {"data": self.task.source}
            self.frozen = CachedFeatures(backbone, self.examples, self.wanted, root, about, self.accelerator)
        return self.frozen

    def judge(
        self, trainer: RewardTrainer, training: np.ndarray, outside: np.ndarray, run: RunFolder
    ) -> tuple[dict[str, Any], TieThreshold | None]:
        """The reward's results on prompts that it was not trained on, and its threshold of ties.

        If there are folds, the threshold is chosen with their scores on the prompts that are not held out, so that
        neither the results on the held-out prompts nor a later test look better than they are.

        Args:
            trainer: the trainer of the reward, after training.
            training: the numbers of the training examples.
            outside: the numbers of the held-out examples.
            run: the folder in which finished folds are kept.
        """
        found, tie, task = {}, None, self.task
        if self.config.folds:
            with run.timer("folds"):
                scores = self.cross_validate(run)
            found["folds"] = task.judge(scores, self.examples, np.arange(len(self.examples)))
            if (best := task.tie_threshold(scores[training], training)) is not None:
                tie = TieThreshold(best, FOLDS)
        if len(outside):
            scores = trainer.scores(self.examples.take(outside)).numpy()
            found["held out"] = task.judge(scores, self.examples, outside, tie)
            if tie is None and (best := task.tie_threshold(scores, outside)) is not None:
                tie = TieThreshold(best, HELD_OUT)
        return found, tie

    def cross_validate(self, run: RunFolder) -> np.ndarray:
        """Scores [N, n], each by a reward that was not trained on the example's prompt; finished folds are kept."""
        own = self.examples.own_prompts()
        folds = fold_of(own, self.config.folds, self.config.seed)
        fold = np.array([folds[prompt] for prompt in own])
        scores = np.zeros(self.examples.image.shape)
        for number in range(self.config.folds):
            kept, rows = run.path / "folds" / f"{number}.json", np.flatnonzero(fold == number)
            if not kept.is_file():
                trainer = self.trainer(np.flatnonzero(fold != number), None)
                trainer.train(f"fold {number + 1} of {self.config.folds}")
                found = trainer.scores(self.examples.take(rows)).tolist()
                if run.writes:
                    write_json(kept, found)
                self.accelerator.wait_for_everyone()
            scores[rows] = _kept_scores(kept, scores[rows].shape)
        return scores


def _kept_scores(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The scores of a fold that was trained before; InputError if the file is damaged."""
    try:
        found = np.array(json.loads(file.read_text()), float)
        if found.shape != shape:
            raise ValueError(f"scores of the shape {found.shape} instead of {shape}")
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); delete it, and the fold is trained again") from error
    return found
