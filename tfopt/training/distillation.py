"""Knowledge distillation while `fit()` trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from tfopt.errors import InputError, ModelError
from tfopt.keras_private import loss_takes_training, penalty_in_loss, set_loss_takes_training
from tfopt.models.attachment import AttachedCallback, refuse_combinations
from tfopt.models.last_activation import last_activation
from tfopt.models.requirements import check_call, has_weights
from tfopt.training.label_checks import loss_name

__all__ = ["Distillation"]

_MIXES = "_tfopt_mixes"  # attribute of a replaced compute_loss: the callback that replaced it
_LEAST = 1e-30  # floor of probabilities: their logarithm and its gradient are finite in float32


class Distillation(AttachedCallback):
    """Trains a model on the outputs of a teacher besides the labels, for the length of a `fit()`.

    The loss becomes `(1 - weight) * own + weight * T^2 * KL(softmax(teacher / T) || softmax(student / T))`, where `own`
    is the model's loss on the labels. Penalties on weights keep their full strength, sample weights count in both
    parts, and the validation loss stays the model's own. The model is an ordinary Keras model at every moment: what is
    saved of it holds nothing of the teacher, and the teacher is never trained.

    How outputs are compared follows from the model's last activation and its loss:

    - A softmax at the end, or a categorical crossentropy: classes along the last axis. Probabilities are taken by their
      logarithm, since `softmax(log(p) / T)` equals `softmax(logits / T)`.
    - A binary crossentropy: each output is a decision of its own, between two classes.
    - Anything else, such as a mean squared error: values, compared by their mean squared error, without a temperature.

    Whether a teacher's outputs are probabilities or logits is found in the same way; for a function, or a model that
    does not tell, they are taken for what the student's are.

    Args:
        teacher: A built Keras model that takes the same inputs, or a function of a batch of inputs in TensorFlow ops.
            For several teachers write a function that averages them.
        temperature: T, above 0: the higher, the more the teacher's small probabilities count.
        weight: How much the teacher counts, 0-1; the labels count for the rest.

    Raises:
        InputError: `teacher` is not callable, or `temperature` or `weight` is out of its range.
        ModelError: When `fit` begins: more than one output, outputs of other shapes than the teacher's, a teacher that
            would be trained along with the student, or a way of training that Keras cannot combine.

    References:
        Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, arXiv:1503.02531.

    Example:
        ```python
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.Distillation(teacher, temperature=4.0)])
        ```
    """

    def __init__(self, teacher: keras.Model | Callable[[Any], Any], temperature: float = 4.0, weight: float = 0.5):
        super().__init__()
        if not callable(teacher):
            raise InputError(f"teacher is a Keras model, or a function of its inputs. Received: {teacher!r:.80}.")
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature is a number above 0. Received: temperature={temperature}.")
        if not 0 <= weight <= 1:
            raise InputError(f"weight is a fraction, 0-1: how much the teacher counts. Received: weight={weight}.")
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        self._attached = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that student and teacher fit, and mixes the teacher into the loss."""
        refuse_combinations(self.model)
        self.detach()
        self._free_of_another()
        _refuse(self.model, self.teacher)
        self._attach()

    def on_train_end(self, logs: Any = None) -> None:
        """Restores the model's own loss."""
        self.detach()

    def _free_of_another(self) -> None:
        """Restores the loss that another callback still replaces because its `fit` was interrupted."""
        other = getattr(vars(self.model).get("compute_loss"), _MIXES, None)
        if other is None:
            return
        if other.params is self.params:  # the same dict within one fit, and only there
            raise ModelError(
                "a fit takes one Distillation. For several teachers hand it a function that averages them."
            )
        other.detach()

    def _attach(self) -> None:
        model = self._owner = self.model
        self._own_loss = vars(model).get("compute_loss")
        self._takes_training = loss_takes_training(model)
        model.compute_loss = self._mixed(model, model.compute_loss)
        set_loss_takes_training(model, True)  # a compute_loss from before Keras 3.3 cannot tell a test from it
        self._attached = True
        model.make_train_function(force=True)  # fit() keeps a step traced earlier, with the loss as it was

    def detach(self) -> None:
        """Restores the model's own loss; `fit` does it at its end."""
        if not self._attached:
            return
        self._attached, model = False, self._owner
        if self._own_loss is None:
            del model.compute_loss
        else:
            model.compute_loss = self._own_loss
        set_loss_takes_training(model, self._takes_training)
        model.make_train_function(force=True)

    def _mixed(self, model: keras.Model, own: Any) -> Any:
        """The loss to train with, in place of the model's `compute_loss`."""
        compare, weight = _comparison(model, self.teacher, self.temperature), self.weight
        takes_training = self._takes_training

        def compute_loss(
            x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            loss = own(x, y, y_pred, sample_weight, **({"training": training} if takes_training else {}))
            if not training:
                return loss
            taught, said = _only(_ask(self.teacher, x), "teacher"), _only(y_pred, "model")
            _refuse_shapes(taught.shape, said.shape)
            penalties = sum(penalty_in_loss(model, penalty) for penalty in model.losses)
            distance = compare(keras.ops.stop_gradient(taught), said, sample_weight)
            return (1 - weight) * loss + weight * (distance + penalties)

        setattr(compute_loss, _MIXES, self)
        return compute_loss


class _Divergence(keras.losses.Loss):
    """T^2 times the divergence of the student's softened classes from the teacher's.

    Keras's `LogitsDistillation` does not compute it: `keras.losses.get("kl_divergence")` gives it a function, which it
    hands the logits as they are, without softmax and T^2; and a KL divergence of probabilities clips them at 1e-7,
    where the gradient of a student that is sure and wrong ends.

    Args:
        temperature: T, above 0.
        binary: Whether each output is a binary decision of its own.
        probabilities: Whether the outputs of teacher and student are probabilities; else they are logits.
    """

    def __init__(self, temperature: float, binary: bool, probabilities: tuple[bool, bool]):
        super().__init__(name="distillation")
        self.temperature, self.binary, self.probabilities = temperature, binary, probabilities

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The divergence of each sample, `(batch,)`, or of each position of a sequence or an image, `(batch, ...)`."""
        teacher, student = (
            keras.ops.log_softmax(self._logits(outputs, probable) / self.temperature)
            for outputs, probable in zip((y_true, y_pred), self.probabilities, strict=True)
        )
        apart = keras.ops.sum(keras.ops.exp(teacher) * (teacher - student), axis=-1)
        return self.temperature**2 * (keras.ops.mean(apart, axis=-1) if self.binary else apart)

    def _logits(self, outputs: Any, probabilities: bool) -> Any:
        """Logits along the last axis, up to a constant that softmax does not see."""
        if self.binary:
            other = 1 - outputs if probabilities else keras.ops.zeros_like(outputs)
            outputs = keras.ops.stack([outputs, other], axis=-1)
        return keras.ops.log(keras.ops.maximum(outputs, _LEAST)) if probabilities else outputs


def _comparison(student: keras.Model, teacher: Any, temperature: float) -> keras.losses.Loss:
    """The loss between the outputs of two models, chosen by the student's last activation and loss."""
    name, from_logits = _crossentropy(student)
    ending = last_activation(student)
    if not name and ending != "softmax":
        return keras.losses.MeanSquaredError()
    binary = "binary" in name and ending != "softmax"
    probable = ending in ("softmax", "sigmoid") or not from_logits
    return _Divergence(temperature, binary, (_gives_probabilities(teacher, probable), probable))


def _gives_probabilities(teacher: Any, otherwise: bool) -> bool:
    ending = last_activation(teacher)
    name, from_logits = _crossentropy(teacher)
    if ending in ("softmax", "sigmoid"):
        return True
    if name:
        return not from_logits
    return otherwise and ending != "linear"


def _crossentropy(model: Any) -> tuple[str, bool]:
    """Name of the crossentropy that a model is compiled with, empty for any other loss; whether it takes logits."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    loss = losses[0] if len(losses) == 1 else None
    name = loss_name(loss) or ""
    return (name, bool(getattr(loss, "from_logits", False))) if "crossentropy" in name else ("", False)


def _ask(teacher: Any, x: Any) -> Any:
    takes_training = "training" in getattr(teacher, "call_signature_parameters", ())
    return teacher(x, training=False) if takes_training else teacher(x)


def _only(outputs: Any, whose: str) -> Any:
    """The single output of a model.

    Raises:
        ModelError: The model has several outputs.
    """
    flat = keras.tree.flatten(outputs)
    if len(flat) != 1:
        raise ModelError(f"Distillation takes models of one output. Received: a {whose} of {len(flat)}.")
    return flat[0]


def _refuse(student: keras.Model, teacher: Any) -> None:
    """Refuses a student and a teacher that do not fit, as far as it can be seen before the first batch."""
    if not isinstance(teacher, keras.Model):
        return
    check_call(teacher)
    if not has_weights(teacher):
        raise ModelError("the teacher has no weights yet. Call its build or call it first.")
    theirs = {id(variable) for variable in teacher.variables}
    shared = [variable.path for variable in student.trainable_variables if id(variable) in theirs]
    if shared:
        raise ModelError(
            f"the teacher would be trained too: {shared[0]} is also the student's. Hand it a copy, such as the model "
            "loaded again."
        )
    taught, said = (
        _only(model.outputs, whose) if getattr(model, "outputs", None) else None
        for model, whose in ((teacher, "teacher"), (student, "model"))
    )
    if taught is not None and said is not None:
        _refuse_shapes(taught.shape, said.shape)


def _refuse_shapes(teacher: Any, student: Any) -> None:
    taught, said = tuple(teacher), tuple(student)
    known = zip(taught[1:], said[1:], strict=False)
    if len(taught) != len(said) or any(a != b for a, b in known if None not in (a, b)):
        raise ModelError(
            "the outputs of teacher and student have one shape. "
            f"Received: teacher {list(taught)}, student {list(said)}, of which the first is the batch."
        )
