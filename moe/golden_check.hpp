// Runs the functional MoE on golden vectors and compares what comes out.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "moe/golden_file.hpp"

namespace meshsim {

struct GoldenResult {
  std::string file, case_name, tensor;
  bool passed = false;
  double max_abs_error = 0;
  double max_rel_error = 0;    // over elements whose expected value is not 0
  double tolerance_ratio = 0;  // max |a - b| / (atol + rtol |b|); passed if <= 1
};

// What a behaviour computed for one expected tensor. `variant` tells several apart that must all
// equal the same one ("ring_of_experts, 4 ranks").
struct Computed {
  std::string expected;
  Shape shape;
  std::vector<double> data;
  std::string variant;
};
using Outputs = std::vector<Computed>;

// A behaviour of the schema: its name and how to compute a case of it.
struct Behaviour {
  std::string name;
  Outputs (*compute)(const GoldenCase&);
};

std::span<const Behaviour> routing_behaviours();
std::span<const Behaviour> layer_behaviours();
std::span<const Behaviour> integer_behaviours();

// Every expected tensor of every case, compared: |a - b| <= atol + rtol |b|, integers equal. Throws
// Error(invalid_input): an unknown behaviour, an expected tensor that the behaviour does not give.
std::vector<GoldenResult> check_golden(const GoldenFile& file, const std::string& file_name);

// Conversions of results.
Computed computed(const std::string& name, const Tensor<float>& tensor, Shape shape = {});
template <class Integer>
Computed computed_integers(const std::string& name, std::span<const Integer> values, Shape shape) {
  return {name, std::move(shape), {values.begin(), values.end()}, {}};
}
Computed computed_scalar(const std::string& name, double value);

}  // namespace meshsim
