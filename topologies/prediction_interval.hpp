// How far a prediction may be off, from the residuals of a calibration.
//
//   e_i = ln(predicted_i / measured_i) of n runs, each fitted without its family
//   q   = the ceil(0.8 (n + 1))-th smallest |e_i|
//   interval = [predicted exp(-q), predicted exp(q)]
//
// Conformal: if a new run were exchangeable with the calibration's, its measurement would lie in
// the interval with a probability of at least 0.8, whatever the law of the errors. With fewer than
// four residuals there is no such q, and no interval.
#pragma once

#include <optional>
#include <vector>

#include "topologies/calibration.hpp"

namespace meshsim {

inline constexpr double interval_coverage = 0.8;

struct PredictionInterval {
  double low = 0, high = 0;
  bool contains(double value) const { return low <= value && value <= high; }
};

// q. Residuals with `without` as their family are left out ("": none).
std::optional<double> conformal_width(const std::vector<CalibrationResidual>& residuals,
                                      const std::string& without = {});

std::optional<PredictionInterval> interval_around(
    double predicted, const std::vector<CalibrationResidual>& residuals);

// The share of the residuals that lie in the interval that the other families give, and its
// standard error as if they were independent: sqrt(p (1 - p) / n). Nothing where no family has an
// interval from the others.
struct Coverage {
  std::size_t rows = 0;
  double ratio = 0, standard_error = 0;
};
Coverage coverage_of(std::size_t inside, std::size_t rows);
std::optional<Coverage> cross_validated(const std::vector<CalibrationResidual>& residuals);

// The probability that what was predicted as `predicted` does not exceed `limit`. The errors are
// taken as normal with unknown mean and spread: with mean m and standard deviation s of the n e_i,
//   P = F_{n-1}((ln(limit / predicted) + m) / (s sqrt(1 + 1 / n))),  F Student's t distribution
// Nothing with fewer than four residuals.
std::optional<double> probability_below(double limit, double predicted,
                                        const std::vector<CalibrationResidual>& residuals);

}  // namespace meshsim
