// Stands in for a runtime in tests of snippets: it takes what was recorded of LiteRT for an inference, refuses inputs
// that are not those of the record to the byte, and gives the recorded outputs.
#ifndef RECORDED_H_
#define RECORDED_H_

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace recorded {

using Bytes = std::vector<char>;

inline Bytes read(const std::string& name) {
  const std::string path = std::string(std::getenv("RECORDED")) + "/" + name;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "there is no record %s\n", path.c_str());
    std::exit(9);
  }
  return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline void write(const std::string& name, const void* data, size_t bytes) {
  std::ofstream file(std::string(std::getenv("RECORDED")) + "/" + name, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
}

template <typename T>
std::vector<T> values(const std::string& name) {
  const Bytes bytes = read(name);
  const T* first = reinterpret_cast<const T*>(bytes.data());
  return std::vector<T>(first, first + bytes.size() / sizeof(T));
}

// The key of a tensor in file names: its name in hexadecimal.
inline std::string key(const std::string& name) {
  std::string found;
  for (const char letter : name) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(letter));
    found += two;
  }
  return found;
}

}  // namespace recorded

#endif  // RECORDED_H_
