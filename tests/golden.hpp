// Reading the JSON files under tests/data.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace meshsim::testing {

inline nlohmann::json golden(const std::string& file) {
  std::ifstream stream(std::string(MESHSIM_TEST_DATA) + "/" + file);
  if (!stream) throw std::runtime_error("cannot open tests/data/" + file);
  return nlohmann::json::parse(stream);
}

}  // namespace meshsim::testing
