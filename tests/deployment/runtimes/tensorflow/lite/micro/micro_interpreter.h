// TFLM's interpreter on a record instead of a model, for tests.
#ifndef TESTS_MICRO_INTERPRETER_H_
#define TESTS_MICRO_INTERPRETER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>

#include "recorded.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& ops, uint8_t* arena, size_t arena_bytes)
      : ready_(model != nullptr && arena != nullptr && arena_bytes > 0 && ops.added.size() == ops.capacity) {}

  TfLiteStatus AllocateTensors() { return ready_ ? kTfLiteOk : kTfLiteError; }

  TfLiteStatus Invoke() {
    for (const auto& [place, bytes] : inputs_) {
      if (bytes != recorded::read(name("in", count_, place))) {
        std::fprintf(stderr, "input %zu is not the recorded one\n", place);
        return kTfLiteError;
      }
    }
    count_ += 1;
    return kTfLiteOk;
  }

  size_t arena_used_bytes() const { return 1; }

  TfLiteStatus Reset() {
    recorded::write("reset", "1", 1);
    return kTfLiteOk;
  }

  template <typename T>
  T* typed_input_tensor(size_t place) {
    if (type<T>() != text("type.in." + std::to_string(place))) return nullptr;
    recorded::Bytes& bytes = inputs_[place];
    bytes.resize(recorded::read(name("in", count_, place)).size());
    return reinterpret_cast<T*>(bytes.data());
  }

  template <typename T>
  T* typed_output_tensor(size_t place) {
    if (type<T>() != text("type.out." + std::to_string(place))) return nullptr;
    recorded::Bytes& bytes = outputs_[place];
    bytes = recorded::read(name("out", count_ - 1, place));
    return reinterpret_cast<T*>(bytes.data());
  }

 private:
  static std::string name(const char* side, int count, size_t place) {
    return std::string(side) + "." + std::to_string(count) + "." + std::to_string(place);
  }
  static std::string text(const std::string& file) {
    const recorded::Bytes bytes = recorded::read(file);
    return std::string(bytes.begin(), bytes.end());
  }
  template <typename T>
  static std::string type() {
    if (std::is_same<T, bool>::value) return "bool";
    if (std::is_floating_point<T>::value) return "float" + std::to_string(8 * sizeof(T));
    return (std::is_unsigned<T>::value ? "uint" : "int") + std::to_string(8 * sizeof(T));
  }

  bool ready_;
  int count_ = 0;
  std::map<size_t, recorded::Bytes> inputs_, outputs_;
};

}  // namespace tflite

#endif  // TESTS_MICRO_INTERPRETER_H_
