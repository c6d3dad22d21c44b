"""How good a model is before anything is done to it."""

import pytest

from tfopt.drafting.baseline import Baseline


@pytest.mark.parametrize(
    ("higher", "score", "guess", "is_a_guess"),
    [
        (True, 0.9, 0.3, False),
        (True, 0.31, 0.3, True),
        (True, 1.0, 1.0, False),
        (True, 0.5, 1.0, False),
        (False, 0.1, 2.0, False),
        (False, 1.99, 2.0, True),
        (False, 0.3, 0.0, False),
    ],
    ids=["learned", "guesses", "one_class", "one_class_missed", "small_error", "error_of_a_guess", "one_value"],
)
def test_a_model_is_untrained_where_it_is_no_better_than_a_guess_that_errs(higher, score, guess, is_a_guess):
    assert Baseline("m", higher, score, guess, 100, 100).is_a_guess is is_a_guess
