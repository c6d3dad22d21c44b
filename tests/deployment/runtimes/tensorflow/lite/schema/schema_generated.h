// The part of TFLM's schema that snippets use, for tests.
#ifndef TESTS_SCHEMA_H_
#define TESTS_SCHEMA_H_

namespace tflite {
struct Model {
  const void* content;
};
inline const Model* GetModel(const void* content) {
  static Model model;
  model.content = content;
  return &model;
}
}  // namespace tflite

#endif  // TESTS_SCHEMA_H_
