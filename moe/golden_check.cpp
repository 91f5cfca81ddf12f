#include "moe/golden_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "inputs/nearest.hpp"

namespace meshsim {
namespace {

// Errors are reported in JSON, which has no infinity.
double finite(double error) {
  return std::isfinite(error) ? error : std::numeric_limits<double>::max();
}

GoldenResult compare(const Computed& actual, const GoldenTensor& expected, double atol,
                     double rtol) {
  GoldenResult result;
  result.tensor = actual.variant.empty() ? actual.expected
                                         : fmt::format("{} ({})", actual.expected, actual.variant);
  if (actual.shape != expected.shape) {
    result.max_abs_error = result.tolerance_ratio = std::numeric_limits<double>::max();
    return result;
  }
  result.passed = true;
  for (std::size_t i = 0; i < expected.data.size(); ++i) {
    const double b = expected.data[i], error = finite(std::abs(actual.data[i] - b));
    const double tolerance = expected.integral ? 0.0 : atol + rtol * std::abs(b);
    if (!(error <= tolerance)) result.passed = false;
    result.max_abs_error = std::max(result.max_abs_error, error);
    if (b != 0) result.max_rel_error = std::max(result.max_rel_error, finite(error / std::abs(b)));
    const double ratio = error == 0 ? 0.0 : finite(error / tolerance);
    result.tolerance_ratio = std::max(result.tolerance_ratio, ratio);
  }
  return result;
}

const Behaviour& find_behaviour(const GoldenFile& file) {
  std::vector<std::string> known;
  for (const auto behaviours : {routing_behaviours(), layer_behaviours(), integer_behaviours()})
    for (const Behaviour& behaviour : behaviours) {
      if (behaviour.name == file.behaviour) return behaviour;
      known.push_back(behaviour.name);
    }
  throw Error(ErrorKind::invalid_input,
              Diagnostic{file.where, "behaviour",
                         fmt::format("is not known (got {})", in_quotes(file.behaviour)),
                         did_you_mean(file.behaviour, known)});
}

}  // namespace

std::vector<GoldenResult> check_golden(const GoldenFile& file, const std::string& file_name) {
  const Behaviour& behaviour = find_behaviour(file);
  std::vector<GoldenResult> results;
  for (const GoldenCase& each : file.cases) {
    Outputs outputs;
    try {
      outputs = behaviour.compute(each);
    } catch (const Error& error) {
      // Faults of values carry no place of their own; they belong to this case.
      std::vector<Diagnostic> placed = error.diagnostics();
      for (Diagnostic& fault : placed) {
        if (!fault.where.file.empty()) continue;
        fault.where.file = file_name;
        fault.key = fmt::format("case {}{}", each.name, fault.key.empty() ? "" : ": " + fault.key);
      }
      throw Error(error.kind(), std::move(placed));
    }
    std::set<std::string> given;
    for (const Computed& output : outputs) {
      const auto expected = each.expected.find(output.expected);
      if (expected == each.expected.end()) continue;
      given.insert(output.expected);
      results.push_back(compare(output, expected->second, file.atol, file.rtol));
      results.back().file = file_name;
      results.back().case_name = each.name;
    }
    for (const auto& [name, tensor] : each.expected)
      if (!given.contains(name))
        throw Error(ErrorKind::invalid_input,
                    Diagnostic{tensor.where,
                               fmt::format("case {}: expected.{}", each.name, name),
                               fmt::format("is no result of {}", file.behaviour),
                               {}});
  }
  return results;
}

Computed computed(const std::string& name, const Tensor<float>& tensor, Shape shape) {
  if (shape.empty()) shape = tensor.shape();
  return {name, std::move(shape), {tensor.flat().begin(), tensor.flat().end()}, {}};
}

Computed computed_scalar(const std::string& name, double value) { return {name, {}, {value}, {}}; }

}  // namespace meshsim
