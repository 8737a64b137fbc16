"""The training loop. Stages differ in the loss, the optimizer and the duration.

A step: batch → outputs (and the teachers') → loss → gradients → optimizer → restrictions; companions come before
and after it, and may add to the loss. Where several batches make a step, their gradients are averaged. Every 30 s a
checkpoint, from which a later call continues to the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Moment, Progress, Task
from recipelang.meaning import schedules
from recipelang.plan import Duration, Training
from recipelang.surgery.layout import wants_channels_last
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import broken, hold, on_device
from recipelang.surgery.tracing import let_go
from recipelang.training import checkpoint as checkpoints
from recipelang.training import companions as accompanying
from recipelang.training.asking import answered, require_cacheable
from recipelang.training.checkpoint import TrainingState
from recipelang.training.compiling import compiled
from recipelang.training.curve import Curve
from recipelang.training.heads import Heads
from recipelang.training.history import EpochTally, FitRecord
from recipelang.training.job import Job, batches, identity_of
from recipelang.training.machine import Interrupts, precision_note, precision_of, reproducible, to_device
from recipelang.training.numbering import members, remembers, require_numbers
from recipelang.training.positions import with_added
from recipelang.training.quantized import learning, without_decay
from recipelang.training.rates import decays, in_groups, rates, set_rate
from recipelang.training.step import step
from recipelang.training.teachers import Teacher
from recipelang.training.terms import Terms
from recipelang.training.trainable import require_trainable, training_only
from recipelang.training.validating import require_validation, unvalidated, validating
from recipelang.training.windows import Window, batches_of_epoch, groups_of_epoch, steps_of, steps_of_epoch

SAVE_EVERY = 30.0  # seconds
WORTH_SAVING = 2.0  # seconds: a shorter epoch costs less to repeat than to save
LOOK_EVERY = {"cpu": 1, "cuda": 20}  # steps between reads of the loss: each makes a GPU wait


def fit(
    network: Network,
    data: Dataset,
    training: Training,
    *,
    task: Task,
    seed: int,
    progress: Progress,
    teachers: Sequence[Teacher] = (),
    device: str = "cpu",
    threads: int | None = None,
    samples: int | None = None,
    checkpoint: Path | None = None,
    precision: str = "auto",
    window: Window | None = None,
    smoke: bool = False,
    validate: bool = False,
) -> tuple[Network, FitRecord]:
    """Train a copy of the network.

    The network and `training.trains` decide what has gradients; what is frozen stays, bit for bit. BatchNorm averages
    its statistics, as in torch, also where the network froze it, but not outside of `training.trains`. Where a network
    returns several tensors, `answers.trained` says which are trained.

    Args:
        network: the start; is not changed. Its restrictions hold after every step.
        data: the `train` split is used.
        training: duration, optimizer, loss terms; without terms, the task's own loss; companions.
        task: its loss.
        seed: decides order, augmentation and dropout.
        progress: one part per step.
        teachers: whose outputs the losses use, in this order; evaluation mode, no gradients.
        device: `cpu`, `cuda`, `cuda:1`.
        threads: for the computation on the CPU; None keeps the current number.
        samples: maximum number of training images, drawn once with `seed`.
        checkpoint: a file to continue from, if it is complete and of this same training, and to write every 30 s,
            at the end of an epoch, on Ctrl-C and at the end. An interrupted training that is continued ends with the
            same bytes as an uninterrupted one, on the same machine.
        precision: `auto`, `float32` or `bfloat16`.
        window: these steps are some of a longer training, whose course ramps, companions and the order of images
            follow; the optimizer begins with each window, and random numbers are drawn from one seed for each.
        smoke: at most two steps, without validation.
        validate: whether the history says how the network does on validation samples after an epoch; what is trained
            is the same.

    Returns:
        The trained network, on the CPU, and the record. Parts that a companion has decided to remove are still in the
        network, without effect: `record.left.decided`.

    Raises:
        Refusal: RCP0312 a ramp is longer than the training; RCP0713 the network cannot run in training mode; RCP0725
            nothing has gradients; RCP0811 the loss is not finite; RCP0812 outputs do not fit the data; RCP0814
            BatchNorm cannot train on batches of one image; RCP0815 a teacher's outputs have another shape; RCP0816
            out of memory; RCP0821 … RCP0823 a loss finds no positions to compare; RCP0825 one is skipped in a step;
            RCP0827 a companion needs a validation split; RCP1500 a loss remembers samples without numbers;
            RCP1523, RCP1524 the answers of teachers cannot be kept.
        KeyboardInterrupt: after the checkpoint is written.
    """
    batch = min(data.batch, samples or data.size("train"), data.size("train"))
    require_trainable(network, batch)
    require_numbers(training, data)
    require_cacheable(training, data, samples, len(teachers))
    drawn = members(data, samples, seed) if remembers(training) else None
    whole, per_epoch = batches_of_epoch(data, samples), steps_of_epoch(data, training, samples)
    steps = steps_of(training.duration, per_epoch, smoke)
    first, total = (window.start, window.total) if window else (0, steps)
    if not (smoke and window):  # also in a smoke run: what is written is compared, not the few steps that it takes
        schedules.fit(replace(training, duration=Duration(total, "steps")) if window else training, per_epoch)
    network = with_added(training, network)
    module = to_device(network.clone().module, device)
    restrictions = on_device(network.restrictions, device)
    with (
        reproducible(seed + first, device, threads),
        training_only(module, training.selected) as still,
        compiled(module, training) as run,
    ):
        hold(module, restrictions)
        live = replace(network, module=module, restrictions=restrictions)
        peers = any(getattr(term.loss, "peers", False) for term in training.losses)
        placed = [teacher.on(device, trains=peers) for teacher in teachers]
        job = Job(
            data,
            training,
            task,
            restrictions,
            seed,
            device,
            precision_of(training, precision, live, device),
            samples,
            batch,
            whole,
            per_epoch,
            total,
            first + steps,
            wants_channels_last(module),
            Heads(task, data.labels),
            Terms(training, task, live, placed, 0 if drawn is None else len(drawn)),
            accompanying.begin(training.companions, live, Moment(first, total, per_epoch, seed), device),
            learning(live, device),
            validating(data, task, training.companions, min(whole, total * training.batches) * batch, device, seed)
            if validate and not smoke
            else None,
            still,
            drawn,
            {teacher.name: Heads(task, data.labels) for teacher in placed if teacher.trains},
            run,
        )
        require_validation(job.validating, training.companions)
        identity = identity_of(job, first, network, teachers)
        parts = nn.ModuleDict({**job.terms.parts, **job.companions.states, **job.learning.states}).to(device).train()
        optimizer = without_decay(training.optimizer.build(_together(module, parts)), job.learning)
        optimizer = in_groups(optimizer, module, rates(live, training), decays(live, training))
        state = TrainingState(module, optimizer, parts, step=first)
        resumed = checkpoint is not None and checkpoints.load(checkpoint, state, identity)
        start = state.step if resumed else 0
        with answered(job, identity, checkpoint, progress) if not smoke else nullcontext() as answers:
            _train(replace(job, answers=answers), state, checkpoint, identity, progress)
            told = job.terms.told()
            if answers is not None:
                images = (job.seen(state.step) - job.seen(first)) * batch
                told = (*told, answers.told(images, batch, job.terms.teachers_take()))
    trained = replace(network, module=module.cpu().to(memory_format=torch.contiguous_format))
    trained.module.train(network.module.training)
    let_go(trained)
    left = job.companions.finish(job.learning.finish(trained))
    grouped = groups_of_epoch(data, training, samples)
    left = replace(left, note="; ".join(filter(None, (grouped, precision_note(training, device), *told, left.note))))
    trained, beside = left.network, job.terms.left(left.network)
    if off := broken(trained):
        raise RuntimeError(f"a restriction of {off[0]} does not hold after training")
    taken, images = state.step - first, (job.seen(state.step) - job.seen(first)) * batch
    epochs = round(images / (job.batches * batch), 3)
    history = tuple(state.history), unvalidated(job.validating, state.history)
    return trained, FitRecord(taken, images, epochs, job.precision, start, *history, left, taken < steps, beside)


def _together(module: nn.Module, parts: nn.Module) -> nn.Module:
    """What the optimizer trains: the network, and the parts where they have parameters."""
    trains = any(True for _ in parts.parameters())
    return nn.ModuleDict({"network": module, "parts": parts}) if trains else module


def _train(job: Job, state: TrainingState, path: Path | None, identity: str, progress: Progress) -> None:
    """Take the remaining steps."""
    state.module.train()
    for part in job.still:
        part.eval()
    progress.start("training", job.total)
    progress.advance(state.step)
    curve = Curve(progress, job.total)
    tally = EpochTally(state, LOOK_EVERY.get(torch.device(job.device).type, 1), job.training.losses, curve)
    saved = time.monotonic()
    try:
        with Interrupts() as interrupts:
            for given in () if job.companions.end else batches(job, state.step):
                lr = job.moment(state.step).value(job.training.optimizer.lr)
                set_rate(state.optimizer, lr)
                with _timing(job, state.step):
                    loss, score, images, terms = step(job, state, given)
                    tally.add(loss, score, images, lr, terms)
                state.step += 1
                whole = state.step % job.per_epoch == 0 or state.step == job.end
                if whole:
                    tally.close(lr, job.per_epoch)
                    _validate(job, state)
                    curve.epoch(state.history[-1])
                ended = state.step == job.end or (whole and job.companions.end)
                progress.advance(1, f"loss {tally.last:.3f}")
                waited = time.monotonic() - saved
                due = waited > SAVE_EVERY or (whole and waited > WORTH_SAVING) or ended
                if path and (due or interrupts.asked):
                    tally.look()
                    checkpoints.save(path, state, identity)
                    saved = time.monotonic()
                if interrupts.asked:
                    raise KeyboardInterrupt
                if ended:
                    break
    except torch.OutOfMemoryError as error:
        help = f"write a smaller `batch=` in the data; it is {job.batch}, and `with accumulate(2)` takes two for a step"
        raise Refusal("RCP0816", f"training does not fit into the memory of `{job.device}`", help) from error
    finally:
        progress.stop()


def _timing(job: Job, step: int) -> AbstractContextManager[None]:
    """The block of one step, for the answers of teachers that say what they saved."""
    return job.answers.timing(job.seen(step + 1) - job.seen(step)) if job.answers else nullcontext()


def _validate(job: Job, state: TrainingState) -> None:
    """Add to the last point of the history how the network does on validation samples, where that is due."""
    asked = job.validating
    if asked is not None and asked.due(state.step, job.per_epoch, job.total):
        instead = job.learning.instead(job.moment(state.step - 1))
        state.history[-1] |= asked.point(state.module, state.parts, job.restrictions, instead)
        job.companions.after_validation(state.history[-1])
