#include "topologies/prediction_interval.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace meshsim {
namespace {

constexpr std::size_t fewest = 4;  // ceil(0.8 (n + 1)) <= n from here on

double log_error(const CalibrationResidual& residual) { return std::log1p(residual.left_out); }

}  // namespace

std::optional<double> conformal_width(const std::vector<CalibrationResidual>& residuals,
                                      const std::string& without) {
  std::vector<double> sizes;
  for (const CalibrationResidual& one : residuals) {
    if (without.empty() || one.family != without) sizes.push_back(std::abs(log_error(one)));
  }
  if (sizes.size() < fewest) return {};
  std::sort(sizes.begin(), sizes.end());
  const double rank = std::ceil(interval_coverage * static_cast<double>(sizes.size() + 1) - 1e-9);
  return sizes[static_cast<std::size_t>(rank) - 1];
}

std::optional<PredictionInterval> interval_around(
    double predicted, const std::vector<CalibrationResidual>& residuals) {
  const std::optional<double> width = conformal_width(residuals);
  if (!width) return {};
  return PredictionInterval{predicted * std::exp(-*width), predicted * std::exp(*width)};
}

Coverage coverage_of(std::size_t inside, std::size_t rows) {
  const auto n = static_cast<double>(rows);
  const double ratio = static_cast<double>(inside) / n;
  return {rows, ratio, std::sqrt(ratio * (1 - ratio) / n)};
}

std::optional<Coverage> cross_validated(const std::vector<CalibrationResidual>& residuals) {
  std::size_t rows = 0;
  std::size_t inside = 0;
  for (const CalibrationResidual& one : residuals) {
    const std::optional<double> width = conformal_width(residuals, one.family);
    if (!width) continue;
    ++rows;
    if (std::abs(log_error(one)) <= *width) ++inside;
  }
  if (rows == 0) return {};
  return coverage_of(inside, rows);
}

std::optional<double> probability_below(double limit, double predicted,
                                        const std::vector<CalibrationResidual>& residuals) {
  if (residuals.size() < fewest || !(limit > 0) || !(predicted > 0)) return {};
  const auto n = static_cast<double>(residuals.size());
  double mean = 0;
  for (const CalibrationResidual& one : residuals) mean += log_error(one) / n;
  double squares = 0;
  for (const CalibrationResidual& one : residuals)
    squares += (log_error(one) - mean) * (log_error(one) - mean);
  const double spread = std::sqrt(squares / (n - 1) * (1 + 1 / n));
  const double distance = std::log(limit / predicted) + mean;
  if (spread == 0) return distance >= 0 ? 1 : 0;
  return boost::math::cdf(boost::math::students_t(n - 1), distance / spread);
}

}  // namespace meshsim
