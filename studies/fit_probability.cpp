#include "studies/fit_probability.hpp"

#include <cmath>
#include <numbers>

namespace meshsim {

double fit_probability(const Answer& answer) {
  const auto room = static_cast<double>((answer.hbm_usable - answer.arguments).value());
  const auto temp = static_cast<double>(answer.temp.value());
  if (temp == 0) return room >= 0 ? 1 : 0;
  const double deviations = (room - temp) / (temp_deviation * temp);
  return std::erfc(-deviations / std::numbers::sqrt2) / 2;
}

}  // namespace meshsim
