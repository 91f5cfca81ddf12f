// A data file that was compiled into the binary (see cmake/MeshsimModule.cmake).
#pragma once

#include <span>
#include <string_view>

namespace meshsim {

struct EmbeddedFile {
  std::string_view path;  // "model_specs/models/llama2-7b.yml"
  std::string_view text;
};

}  // namespace meshsim
