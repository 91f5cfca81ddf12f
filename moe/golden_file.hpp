// Files of schema moe-golden/1: cases with a configuration, input tensors and expected tensors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "inputs/node.hpp"
#include "inputs/source.hpp"
#include "moe/tensor.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

struct GoldenTensor {
  Shape shape;
  bool integral = false;     // i32, i64 and bool; otherwise f32
  std::vector<double> data;  // row-major; both kinds are exact in a double
  Location where;
};

// One case. Whatever a check asks for and does not find is refused with its place.
class GoldenCase {
 public:
  std::string name;
  std::map<std::string, GoldenTensor> inputs, expected;

  GoldenCase(const Node& node, std::string path);

  bool configures(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  double real(const std::string& key) const;
  std::string text(const std::string& key) const;

  bool has_input(const std::string& key) const { return inputs.contains(key); }
  // An input of this shape; -1 stands for any size.
  Tensor<float> tensor(const std::string& key, const Shape& shape) const;
  std::vector<std::int64_t> integers(const std::string& key, const Shape& shape) const;
  std::vector<ExpertId> ids(const std::string& key, const Shape& shape) const;

 private:
  const GoldenTensor& input(const std::string& key, const Shape& shape, bool integral) const;
  const Node& configured(const std::string& key) const;

  std::string path_;
  Location where_;
  Node config_;
};

struct GoldenFile {
  std::string behaviour;
  double atol = 0, rtol = 0;
  Location where;  // of the behaviour
  std::vector<GoldenCase> cases;
};

// Tensors have more values than other documents. In memory each takes some 150 bytes.
inline constexpr std::size_t max_golden_values = std::size_t{4} << 20;

// Throws Error(invalid_input) with the places of all faults of the head or of a case.
GoldenFile parse_golden_file(const Source& source);

}  // namespace meshsim
