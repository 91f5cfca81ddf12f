// Spaces for tests, as text.
#pragma once

#include <string>

#include "studies/sweep/space.hpp"
#include "tests/temporary_folder.hpp"

namespace meshsim::testing {

inline SweepSpace space_of(const std::string& text) {
  const TemporaryFolder folder;
  return read_space(folder.file("space.yml", text));
}

// `text` below a base that resolves.
inline SweepSpace llama_space(const std::string& text) {
  return space_of(
      "base: {model_name: llama3.1-8b, per_device_batch_size: 1, attention: dot_product}\n" + text);
}

}  // namespace meshsim::testing
