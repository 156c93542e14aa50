"""What the curves of a run look like, in words, by stated rules. A pure function of the logged numbers.

The rules are tried in this order, and the first one that holds is the diagnosis. *Late* is the mean over the last third
of the logged lines, *first* the first line. An error *rises* by so many per cent of the base model's error on the same
images and draws: of the training examples where the method measures the base model, otherwise of the held-out ones.
*Preferred* are winners and first places, *other* are losers and last places; a method of single images has one error,
the preferred one. Training has *improved* if its accuracy has risen by `ACCURACY_RISE`, if its late loss is below the
first one by more than twice its standard error, or if the other images' error has risen more than the preferred images'
by more than twice the standard error of that difference.

| diagnosis | rule |
|---|---|
| too early to tell | fewer than `ENOUGH_LINES` lines |
| learning rate too high | the late loss is above `LOSS_RISE` times the first one, or the late norm of the gradient \
above `NORM_RISE` times the first one |
| memorised | training has improved and has seen its examples more than once, and held-out feedback got worse: \
its loss is `WORSE` above its lowest, and its accuracy is `GAP` below that of training |
| both errors rise | the errors of preferred and of other images both rise by more than `ERROR_RISE` |
| only the loser moves | the other images' error rises more than the preferred images', and less than `SHARE` of the \
difference comes from the preferred images |
| healthy | training has improved, and the preferred images' error has not risen |
| too early to tell | nothing of the above: nothing has moved by more than its noise |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from palate.align.evidence import Evidence, evidence_of

Name = Literal[
    "too early to tell",
    "learning rate too high",
    "memorised",
    "both errors rise",
    "only the loser moves",
    "healthy",
]

ENOUGH_LINES = 5
"""A third of five lines is one."""
LOSS_RISE = 1.25
"""DPO's loss begins at log 2 = 0.69. On tiny-sd lines of runs that learn vary by 8% around it; with a learning rate
that is too high the loss ended at 1.6 and 24 (docs/lab-notes.md)."""
NORM_RISE = 10.0
"""On tiny-sd the norm of runs that learn changes by less than a factor of 3."""
GAP = 0.15
"""Four times that noise."""
WORSE = 0.05
"""Held-out loss is measured at the same draws each time, so that its changes are no noise of the draws."""
ERROR_RISE = 0.1
"""On tiny-sd the winners' error of runs whose images improve rises by up to 9%, and that of runs whose errors keep
climbing by 15% and more (docs/lab-notes.md)."""
SHARE = 0.1
"""A tenth of the difference."""

ADVICE: Mapping[Name, str] = {
    "too early to tell": "Train for more steps. If the run is at its end, raise --lr or --steps.",
    "learning rate too high": "Start again with a lower --lr, by a factor of 3 to 10, or a longer --warmup.",
    "memorised": "Take model/best, or give fewer --steps, more preferences or a lower --rank; leave --draws out.",
    "both errors rise": "The images get worse. Lower --lr or raise --beta; with rankings, give --safeguard 0.6 or "
    "--anchor (10 at beta 50), which keep the winners' error down.",
    "only the loser moves": "Losers get less likely and winners no more likely. If the images do not improve, give or "
    "raise --anchor, lower --lr, or train by sft first and then by this method.",
    "healthy": "Nothing needs to be changed. Judge the model by its images and with `palate evaluate`.",
}
"""What to do, in one or two sentences."""


@dataclass(frozen=True)
class Diagnosis:
    """What the curves look like.

    Attributes:
        name: the rule that holds.
        evidence: the numbers for it, in a sentence.
        advice: what to do.
    """

    name: Name
    evidence: str
    advice: str

    def sentence(self) -> str:
        """All of it in one line."""
        return f"{self.name}: {self.evidence} {self.advice}"


def diagnose(lines: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]] = ()) -> Diagnosis:
    """What the curves of a run look like.

    Args:
        lines: the lines of `metrics.jsonl`.
        rows: the lines of `validation.jsonl`.
    """
    lines = [line for line in lines if line.get("loss") is not None]
    if len(lines) < ENOUGH_LINES:
        return Diagnosis("too early to tell", f"Lines of metrics so far: {len(lines)}.", ADVICE["too early to tell"])
    found = evidence_of(lines, rows)
    for name, rule in RULES.items():
        if sentence := rule(found):
            return Diagnosis(name, sentence, ADVICE[name])
    return Diagnosis("too early to tell", "Nothing has moved by more than its noise.", ADVICE["too early to tell"])


def _learning_rate(e: Evidence) -> str:
    if e.late_loss > LOSS_RISE * e.first_loss > 0:
        return f"The loss has risen from {e.first_loss:.3g} to {e.late_loss:.3g}."
    if e.first_norm and e.late_norm and e.late_norm > NORM_RISE * e.first_norm:
        return f"The norm of the gradient has risen from {e.first_norm:.3g} to {e.late_norm:.3g}."
    return ""


def _memorised(e: Evidence) -> str:
    if e.held_out_loss is None or e.lowest_loss is None or not e.improved or e.epoch <= 1:
        return ""
    if e.held_out_loss - e.lowest_loss <= WORSE * abs(e.lowest_loss):
        return ""
    losses = f"the held-out loss rose from {e.lowest_loss:.3g} to {e.held_out_loss:.3g}"
    if e.late_accuracy is None or e.held_out_accuracy is None:
        return f"The training loss fell from {e.first_loss:.3g} to {e.late_loss:.3g}, and {losses}."
    if e.late_accuracy - e.held_out_accuracy < GAP:
        return ""
    return (
        f"Accuracy is {e.late_accuracy:.2f} in training and {e.held_out_accuracy:.2f} on held-out feedback; {losses}."
    )


def _both_rise(e: Evidence) -> str:
    if e.preferred is None or e.preferred <= ERROR_RISE:
        return ""
    if e.other is None:
        return f"The error of the images is {e.preferred:.0%} above the base model's."
    if e.other <= ERROR_RISE:
        return ""
    return (
        f"The error of preferred images is {e.preferred:.0%} above the base model's, that of the others {e.other:.0%}."
    )


def _only_loser(e: Evidence) -> str:
    if e.gap is None or e.moved is None or e.preferred is None or e.other is None or e.other <= 0:
        return ""
    if e.gap <= 2 * e.gap_noise or -e.moved >= SHARE * e.gap:
        return ""
    return f"The error of preferred images has changed by {e.preferred:+.2%}, that of the others by {e.other:+.2%}."


def _healthy(e: Evidence) -> str:
    if not e.improved or (e.gap is not None and e.moved is not None and e.moved > 2 * e.gap_noise):
        return ""
    parts = [f"the loss went from {e.first_loss:.3g} to {e.late_loss:.3g}"]
    if e.late_accuracy is not None:
        parts.append(f"accuracy is {e.late_accuracy:.2f}")
    if e.held_out_accuracy is not None:
        parts.append(f"on held-out feedback {e.held_out_accuracy:.2f}")
    if e.preferred is not None:
        parts.append(f"the error of preferred images changed by {e.preferred:+.2%}")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


RULES: Mapping[Name, Callable[[Evidence], str]] = {
    "learning rate too high": _learning_rate,
    "memorised": _memorised,
    "both errors rise": _both_rise,
    "only the loser moves": _only_loser,
    "healthy": _healthy,
}
"""The rules in their order; each returns a sentence with its numbers where it holds, and nothing elsewhere."""
