#include "topologies/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Matchers::Contains;

namespace {

constexpr const char* head =
    R"("$schema": "https://meshsim.dev/schema/calibration/1", "step_time": [], "peak": [])";

std::string constant(std::string_view name, std::string_view unit, std::string_view chip,
                     std::string_view numbers) {
  return fmt::format(R"({{"name": "{}", "unit": "{}", "chip": "{}", {}, "source": "a test"}})",
                     name, unit, chip, numbers);
}

// Every known constant, and `more` behind them.
Calibration calibration(const std::string& more = {}) {
  std::string list;
  for (const CalibrationName& known : calibration_names()) {
    list += (list.empty() ? "" : ", ") +
            constant(known.name, known.unit, "any", R"("value": 0.5, "low": 0.4, "high": 0.6)");
  }
  if (!more.empty()) list += ", " + more;
  return parse_calibration({"test.json", fmt::format("{{{}, \"constants\": [{}]}}", head, list)});
}

}  // namespace

TEST_CASE("the built-in calibration says where its numbers are from", "[calibration]") {
  const Calibration& builtin = *builtin_calibration();
  for (const CalibrationConstant& one : builtin.constants) {
    INFO(one.name);
    CHECK_FALSE(one.source.empty());
    CHECK(one.low <= one.value);
    CHECK(one.value <= one.high);
    // What was fitted says to which rows, and how well.
    CHECK(one.fitted_rows.empty() != one.residual_ratio.has_value());
    if (!one.fitted_rows.empty()) CHECK(one.prior.has_value());
  }
  const auto fitted =
      std::count_if(builtin.constants.begin(), builtin.constants.end(),
                    [](const CalibrationConstant& one) { return one.prior.has_value(); });
  CHECK(fitted <= 9);
}

TEST_CASE("a constant of a chip stands before the one of any chip", "[calibration]") {
  const Calibration one =
      calibration(constant("ici", "share", "v6e", R"("value": 0.7, "low": 0.7, "high": 0.8)"));
  CHECK(one.value("ici", "v6e") == 0.7);
  CHECK(one.value("ici", "v5p") == 0.5);
  CHECK(one.value("hbm", "v6e") == 0.5);
}

TEST_CASE("calibrations that are refused", "[calibration]") {
  const auto fault = [](const std::string& more) {
    return std::string(refusal([&] { calibration(more); }).what());
  };
  const char* good = R"("value": 0.5, "low": 0.4, "high": 0.6)";
  CHECK_THAT(fault(constant("ici", "share", "any", good)), Contains("stands twice for chip any"));
  CHECK_THAT(fault(constant("icy", "share", "any", good)), Contains("ici"));
  CHECK_THAT(fault(constant("ici", "seconds", "v6e", good)), Contains("must be share"));
  CHECK_THAT(fault(constant("ici", "share", "v9", good)), Contains("v9"));
  CHECK_THAT(fault(constant("ici", "share", "v6e", R"("value": 1.5, "low": 1, "high": 2)")),
             Contains("a share lies in (0, 1]"));
  CHECK_THAT(fault(constant("ici", "share", "v6e", R"("value": 0.5, "low": 0.6, "high": 0.7)")),
             Contains("low <= value <= high"));
  CHECK_THAT(fault(constant("ici", "share", "v6e", R"("value": 0, "low": 0, "high": 0)")),
             Contains("0 < low"));
  CHECK_THAT(refusal([] {
               parse_calibration({"test.json", fmt::format("{{{}, \"constants\": []}}", head)});
             }).what(),
             Contains("matmul for chip any is missing"));
  CHECK_THAT(refusal([] {
               parse_calibration({"test.json", R"({"$schema": "plan/1"})"});
             }).what(),
             Contains("calibration/1"));
}
