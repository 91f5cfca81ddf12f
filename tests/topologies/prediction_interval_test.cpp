#include "topologies/prediction_interval.hpp"

#include <catch2/catch.hpp>
#include <cmath>

using namespace meshsim;

namespace {

CalibrationResidual residual(const char* family, double log_error) {
  // The in-sample error must not matter.
  return {"", family, 100, std::expm1(log_error)};
}

}  // namespace

TEST_CASE("the interval is the conformal one", "[interval]") {
  // |e| sorted: 0.01 0.02 0.03 0.04. ceil(0.8 x 5) = 4: the largest.
  const std::vector<CalibrationResidual> four{residual("a", 0.03), residual("a", -0.01),
                                              residual("b", 0.02), residual("b", -0.04)};
  CHECK(*conformal_width(four) == Approx(0.04));
  const PredictionInterval band = *interval_around(10, four);
  CHECK(band.low == Approx(10 * std::exp(-0.04)));
  CHECK(band.high == Approx(10 * std::exp(0.04)));
  CHECK(band.contains(10));
  CHECK_FALSE(band.contains(10.5));

  std::vector<CalibrationResidual> nine(4, residual("a", 0.01));
  nine.insert(nine.end(), 4, residual("b", -0.05));
  nine.push_back(residual("c", 0.9));
  // ceil(0.8 x 10) = 8: the last of the 0.05; the outlier has no say.
  CHECK(*conformal_width(nine) == Approx(0.05));

  const std::vector<CalibrationResidual> three(3, residual("a", 0.01));
  CHECK_FALSE(conformal_width(three));  // ceil(0.8 x 4) = 4 of 3
  CHECK_FALSE(interval_around(1, three));
}

TEST_CASE("coverage is counted against the other families", "[interval]") {
  std::vector<CalibrationResidual> all(4, residual("small", 0.01));
  all.insert(all.end(), 4, residual("large", 0.05));
  // "small" within the 0.05 of "large": 4 of 4; "large" outside the 0.01 of "small": 0 of 4.
  const Coverage coverage = *cross_validated(all);
  CHECK(coverage.rows == 8);
  CHECK(coverage.ratio == 0.5);
  CHECK(coverage.standard_error == Approx(std::sqrt(0.5 * 0.5 / 8)));
  // One family alone has no others.
  CHECK_FALSE(cross_validated({4, residual("small", 0.01)}));
}

TEST_CASE("the probability to stay below a limit", "[interval]") {
  // Mean 0 and a known spread: s^2 = 4 x 0.01 / 3, Student's t with 3 degrees of freedom.
  const std::vector<CalibrationResidual> even{residual("", 0.1), residual("", -0.1),
                                              residual("", 0.1), residual("", -0.1)};
  CHECK(*probability_below(100, 100, even) == Approx(0.5));
  const double below = *probability_below(110, 100, even);
  CHECK(*probability_below(100, 110, even) == Approx(1 - below));
  // z = ln 1.1 / (sqrt(0.04 / 3) sqrt(1.25)) = 0.7383; F_3(z) = 1/2 + (x / (1 + x^2) + atan x) / pi
  // with x = z / sqrt 3.
  const double x = std::log(1.1) / (std::sqrt(0.04 / 3) * std::sqrt(1.25)) / std::sqrt(3.0);
  CHECK(below == Approx(0.5 + (x / (1 + x * x) + std::atan(x)) / std::acos(-1.0)));
  // Predictions that are always 10 % too large: 105 for a limit of 100 is likely to fit.
  std::vector<CalibrationResidual> high = even;
  for (CalibrationResidual& one : high) one.left_out = std::expm1(std::log1p(one.left_out) + 0.1);
  CHECK(*probability_below(100, 105, high) > 0.5);
  CHECK_FALSE(probability_below(100, 100, {3, residual("", 0.1)}));
}
