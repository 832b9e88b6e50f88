"""A training that runs away: when, where, and at which learning rate."""

from __future__ import annotations

from cache.errors import ProbelineError
from pipeline.finetuning.job import Job
from pipeline.finetuning.schedule import factor


class DivergedError(ProbelineError, ArithmeticError):
    """A loss or a gradient that is no finite number."""


def diverged(job: Job, loss: float, norm: float, epoch: int, step: int) -> DivergedError:
    """What to say of a step whose loss or gradient is not finite.

    Parameters
    ----------
    job : Job
    loss, norm : float
        Of the whole batch; of the gradient before it is cut.
    epoch, step : int
        From 0.
    """
    recipe = job.recipe
    rate = recipe.scaled(recipe.learning_rate) * factor(epoch, recipe.epochs, recipe.warmup_epochs)
    kept = f"; the state after epoch {epoch} is kept in {job.state}" if epoch else ""
    return DivergedError(
        job.place,
        "the training diverged",
        expected="a finite loss and gradient",
        found=f"loss {loss:g}, gradient {norm:g} in epoch {epoch + 1} of {recipe.epochs}, "
        f"step {step + 1} of {job.steps}, at a learning rate of {rate:g}{kept}",
        remedy=f"lower `learning_rate` (now {recipe.learning_rate:g}) or "
        f"`head_learning_rate` (now {recipe.head_learning_rate:g})",
    )
