// The C API on a record instead of a runtime.
#include "tensorflow/lite/c/c_api.h"

#include <cstring>
#include <map>
#include <string>

#include "recorded.h"

struct TfLiteTensor {
  recorded::Bytes bytes;
};
struct TfLiteModel {};
struct TfLiteInterpreter {
  std::string reset;
};
struct TfLiteSignatureRunner {
  int count = 0;
  std::map<std::string, TfLiteTensor> inputs, outputs;
};

namespace {
std::string place(const char* side, int count, const std::string& name) {
  return std::string(side) + "." + std::to_string(count) + "." + recorded::key(name);
}
}  // namespace

TfLiteModel* TfLiteModelCreateFromFile(const char*) { return new TfLiteModel; }
void TfLiteModelDelete(TfLiteModel* model) { delete model; }
TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel*, const TfLiteInterpreterOptions*) {
  return new TfLiteInterpreter;
}
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter) { delete interpreter; }
TfLiteStatus TfLiteInterpreterResetVariableTensors(TfLiteInterpreter*) {
  recorded::write("reset", "1", 1);
  return kTfLiteOk;
}
TfLiteSignatureRunner* TfLiteInterpreterGetSignatureRunner(const TfLiteInterpreter*, const char* key) {
  return key == std::string(recorded::read("signature").data(), recorded::read("signature").size())
             ? new TfLiteSignatureRunner
             : nullptr;
}
void TfLiteSignatureRunnerDelete(TfLiteSignatureRunner* runner) { delete runner; }
TfLiteStatus TfLiteSignatureRunnerAllocateTensors(TfLiteSignatureRunner*) { return kTfLiteOk; }
TfLiteTensor* TfLiteSignatureRunnerGetInputTensor(TfLiteSignatureRunner* runner, const char* name) {
  TfLiteTensor& tensor = runner->inputs[name];
  tensor.bytes.resize(recorded::read(place("in", runner->count, name)).size());
  return &tensor;
}
TfLiteStatus TfLiteSignatureRunnerInvoke(TfLiteSignatureRunner* runner) {
  for (const auto& [name, tensor] : runner->inputs) {
    if (tensor.bytes != recorded::read(place("in", runner->count, name))) {
      std::fprintf(stderr, "input %s is not the recorded one\n", name.c_str());
      return kTfLiteError;
    }
  }
  runner->count += 1;
  return kTfLiteOk;
}
const TfLiteTensor* TfLiteSignatureRunnerGetOutputTensor(const TfLiteSignatureRunner* runner, const char* name) {
  TfLiteTensor& tensor = const_cast<TfLiteSignatureRunner*>(runner)->outputs[name];
  tensor.bytes = recorded::read(place("out", runner->count - 1, name));
  return &tensor;
}
size_t TfLiteTensorByteSize(const TfLiteTensor* tensor) { return tensor->bytes.size(); }
TfLiteStatus TfLiteTensorCopyFromBuffer(TfLiteTensor* tensor, const void* data, size_t bytes) {
  if (bytes != tensor->bytes.size()) return kTfLiteError;
  std::memcpy(tensor->bytes.data(), data, bytes);
  return kTfLiteOk;
}
TfLiteStatus TfLiteTensorCopyToBuffer(const TfLiteTensor* tensor, void* data, size_t bytes) {
  if (bytes != tensor->bytes.size()) return kTfLiteError;
  std::memcpy(data, tensor->bytes.data(), bytes);
  return kTfLiteOk;
}
