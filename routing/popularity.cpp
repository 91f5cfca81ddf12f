#include "routing/popularity.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "routing/random.hpp"

namespace meshsim {
namespace {

template <std::size_t N>
double polynomial(const std::array<double, N>& c, double x) {
  double sum = 0;
  for (const double each : c) sum = sum * x + each;
  return sum;
}

// The quantile function of N(0, 1) is a quotient of polynomials, others in its tails.
constexpr std::array<double, 6> a{-3.969683028665376e+01, 2.209460984245205e+02,
                                  -2.759285104469687e+02, 1.383577518672690e+02,
                                  -3.066479806614716e+01, 2.506628277459239e+00};
constexpr std::array<double, 6> b{-5.447609879822406e+01, 1.615858368580409e+02,
                                  -1.556989798598866e+02, 6.680131188771972e+01,
                                  -1.328068155288572e+01, 1.0};
constexpr std::array<double, 6> c{-7.784894002430293e-03, -3.223964580411365e-01,
                                  -2.400758277161838e+00, -2.549732539343734e+00,
                                  4.374664141464968e+00,  2.938163982698783e+00};
constexpr std::array<double, 5> d{7.784695709041462e-03, 3.224671290700398e-01,
                                  2.445134137142996e+00, 3.754408661907416e+00, 1.0};
constexpr double tail = 0.02425;

inline double central_quantile(double p) {
  const double q = p - 0.5;
  return q * polynomial(a, q * q) / polynomial(b, q * q);
}

double drawn_normal(std::uint64_t seed, std::uint64_t index) {
  return normal_quantile(random_unit(seed, index) + 0x1p-54);
}

// The time by which k of the experts have arrived in the mean.
double usual_time(std::span<const double> weights, double k) {
  double low = 0, high = 1;
  const auto arrived = [&](double t) {
    double sum = 0;
    for (const double w : weights) sum -= std::expm1(-w * t);
    return sum;
  };
  // With k near E the slowest expert decides; a late time is still a fine scale.
  while (arrived(high) < k && high < 1e6) high *= 2;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (arrived(middle) < k ? low : high) = middle;
  }
  return high;
}

// P(j of the experts have arrived), j < k, leaving out one of them.
void add_arrivals(std::vector<double>& counts, double p) {
  for (std::size_t j = counts.size(); j-- > 1;) counts[j] += p * (counts[j - 1] - counts[j]);
  counts[0] *= 1 - p;
}

double sum_without(std::span<const double> arrived, std::size_t left_out, std::size_t k) {
  std::vector<double> counts(k, 0.0);
  counts[0] = 1;
  for (std::size_t e = 0; e < arrived.size(); ++e)
    if (e != left_out) add_arrivals(counts, arrived[e]);
  double sum = 0;
  for (const double each : counts) sum += each;
  return sum;
}

}  // namespace

double normal_quantile(double p) {
  if (p < tail) {
    const double q = std::sqrt(-2 * std::log(p));
    return polynomial(c, q) / polynomial(d, q);
  }
  if (p > 1 - tail) {
    const double q = std::sqrt(-2 * std::log1p(-p));
    return -polynomial(c, q) / polynomial(d, q);
  }
  return central_quantile(p);
}

void normal_quantiles(std::span<double> p) {
  for (double& each : p)
    each = each < tail || each > 1 - tail ? normal_quantile(each) : central_quantile(each);
}

std::vector<double> popularity(std::int64_t experts, double sigma, std::uint64_t seed,
                               std::int64_t step) {
  std::vector<double> weights;
  const double fresh = std::sqrt(1 - popularity_memory * popularity_memory);
  for (std::int64_t e = 0; e < experts; ++e) {
    const auto own = static_cast<std::uint64_t>(e);
    double g = drawn_normal(seed, own);
    for (std::int64_t s = 1; s <= step; ++s)
      g = popularity_memory * g +
          fresh * drawn_normal(sub_seed(seed, static_cast<std::uint64_t>(s)), own);
    weights.push_back(std::exp(sigma * g));
  }
  return weights;
}

std::vector<double> inclusion_probabilities(std::span<const double> weights, std::int64_t top_k) {
  const auto k = static_cast<std::size_t>(top_k);
  if (k >= weights.size()) return std::vector<double>(weights.size(), 1.0);
  std::vector<double> included(weights.size(), 0.0);
  const double scale = usual_time(weights, static_cast<double>(top_k));
  // t = scale y^2 / (1 - y)^2: the middle of (0, 1) is where the k-th expert arrives, and the ends
  // are flat, so that equal steps converge fast.
  constexpr int nodes = 96;
  // Dividing the factor of an expert out of the counts amplifies rounding (p / (1 - p))^k times:
  // up to 1e8 times of 1e-16 is let pass.
  const double odds = std::pow(1e8, 1 / static_cast<double>(top_k));
  const double divisible = odds / (1 + odds);
  std::vector<double> arrived(weights.size());
  std::vector<double> counts(k);
  for (int node = 0; node < nodes; ++node) {
    const double y = (node + 0.5) / nodes;
    const double t = scale * y * y / ((1 - y) * (1 - y));
    const double dt = scale * 2 * y / ((1 - y) * (1 - y) * (1 - y)) / nodes;
    std::fill(counts.begin(), counts.end(), 0.0);
    counts[0] = 1;
    for (std::size_t e = 0; e < weights.size(); ++e) {
      arrived[e] = -std::expm1(-weights[e] * t);
      add_arrivals(counts, arrived[e]);
    }
    double all = 0;
    for (const double each : counts) all += each;
    if (all < 1e-14) continue;  // more than k have arrived, whoever is left out
    for (std::size_t e = 0; e < weights.size(); ++e) {
      const double p = arrived[e];
      double fewer = 0;
      if (p > divisible) {
        fewer = sum_without(arrived, e, k);
      } else {
        double without = 0;
        for (std::size_t j = 0; j < k; ++j) {
          without = (counts[j] - p * without) / (1 - p);
          fewer += without;
        }
      }
      included[e] += weights[e] * (1 - p) * fewer * dt;
    }
  }
  double sum = 0;
  for (const double each : included) sum += each;
  for (double& each : included) each = std::min(1.0, each * static_cast<double>(top_k) / sum);
  return included;
}

}  // namespace meshsim
