// A statistical router: experts of unequal popularity, k distinct ones per token.
//
//   g_e(0) = N(0, 1);  g_e(s) = rho g_e(s-1) + sqrt(1 - rho^2) N(0, 1), rho = 0.99
//   w_e = e^(sigma g_e(s)), per layer
//
// Every token takes the k experts that arrive first when expert e arrives after an exponential time
// of rate w_e. That is Gumbel-top-k of log w: k distinct experts, as a real router chooses, where a
// multinomial draw would repeat some. sigma 0.1 to 0.2 resembles a trained, bias-balanced router,
// 0.45 a badly balanced one, 0.7 one that sees random tokens (DODOCO, arXiv 2605.20982, May 2026).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace meshsim {

inline constexpr double popularity_memory = 0.99;  // rho, from step to step

// The quantile function of N(0, 1), 0 < p < 1, to about 1e-9 relative (Acklam's rational form).
double normal_quantile(double p);
// The same of every entry, in its place.
void normal_quantiles(std::span<double> p);

// w_e of one layer and step, [E]; `seed` names the layer.
std::vector<double> popularity(std::int64_t experts, double sigma, std::uint64_t seed,
                               std::int64_t step);

// The probability that a token takes expert e:
//
//   pi_e = integral over t > 0 of w_e e^(-w_e t) P(fewer than k others have arrived by t) dt
//
// in closed form over the others (the distribution of a sum of independent indicators), by
// quadrature over t. They sum to k.
std::vector<double> inclusion_probabilities(std::span<const double> weights, std::int64_t top_k);

}  // namespace meshsim
