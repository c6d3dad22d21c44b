"""What looks at files layer by layer knows an LSTM that is one op: sensitivity, the accuracy search, the report."""

import functools

import numpy as np

from tests.quantization.recurrent.recurrent_nets import LSTM, by_keras, known, to_float_once
from tfopt.quantization.accuracy_search import AccuracySearch
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.layer_report import layer_report
from tfopt.quantization.preparation import prepare
from tfopt.quantization.sensitivity import measure
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.recipe.export import Export
from tfopt.tflite.batch_interpreter import BatchInterpreter
from tfopt.tflite.interpreter import Runner


@functools.cache
def prepared():
    model, samples = known("stacked")
    return model, samples, prepare(model, Export(recurrent="fused"), samples, convert=to_float_once)


def test_the_sensitivity_of_a_layer_is_that_of_a_file_with_it_alone_in_integers():
    model, _, ready = prepared()
    found = {one.group.name: one for one in measure(ready, ("int8",))}
    first = found[model.layers[0].name]
    assert 0 < first.error < 1e-2
    weights = sum(np.size(w) for w in model.layers[0].get_weights()[:2])
    assert first.bytes_saved == 3 * weights
    assert first.group.kind == LSTM


def test_the_search_keeps_layers_out_of_integers_as_long_as_the_metric_asks_for_more():
    """With the error itself as the metric, and more asked for than there is."""
    model, samples, ready = prepared()
    expected = by_keras(model, samples)

    def error(content):
        [output] = Runner(content)(samples).values()
        return float(np.abs(output - expected).max())

    asked = error(ready.file)
    outcome = AccuracySearch(ready, score=error, drop=lambda score: score, max_drop=1e-9).keep()
    assert outcome.step.drop < asked
    memories = [op for op in outcome.conversion.made.ops if op.name == LSTM]
    assert len(memories) == 2
    assert any(op.floating for op in memories)
    assert error(outcome.conversion.content) == outcome.step.drop


def test_the_report_has_its_weights_and_their_error():
    model, samples, _ = prepared()
    conversion = convert_with_notes(model, Export(recurrent="fused"), samples, "metric", to_float_once)
    details = {type(one): one for one in layer_report(conversion)}
    own = next(row.after for row in details[WeightsByLayer].rows if row.layer == model.layers[0].name)
    assert own.kernels == sum(np.size(w) for w in model.layers[0].get_weights()[:2])
    assert own.precision == "int8"
    errors = {row.layer: row for row in details[QuantizationErrors].rows}
    assert errors[model.layers[0].name].output_snr_db > 25
    assert errors[model.layers[0].name].weights_snr_db > 35


def test_many_samples_at_once_know_nothing_of_each_other():
    _, samples, ready = prepared()
    [x] = samples.values()
    many = np.resize(x, (300, *x.shape[1:]))
    for content in (ready.source.content, ready.file):
        [one_by_one] = Runner(content)(many).values()
        [at_once] = BatchInterpreter(content, workers=2)(many).values()
        assert np.allclose(at_once, one_by_one, atol=1e-6)
