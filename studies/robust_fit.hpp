// A fit of a few parameters with priors to observations of which some may have causes that no
// parameter stands for.
//
//   minimise  Phi(x) = sum_i rho(r_i) + sum_j ((x_j - p_j) / s_j)^2    subject to  x_j <= most_j
//   r_i = (f_i(x) - y_i) / sigma_i
//   rho(r) = k^2 ln(1 + (r / k)^2), k = 3: an error far beyond k sigmas pulls no more (Cauchy)
//
// Gauss-Newton with the weights w_i = 1 / (1 + (r_i / k)^2) and a Jacobian of central differences;
// a step is halved until it descends, and doubled while it descends further.
// Covariance = c (J' W J + P)^-1, P the priors' precision, c = max(1, weighted mean of r^2). No
// randomness: equal input gives equal output.
#pragma once

#include <functional>
#include <vector>

namespace meshsim {

using Vector = std::vector<double>;

struct FitProblem {
  std::function<Vector(const Vector& x)> model;  // f
  Vector measured, sigma;                        // y, of every observation
  Vector prior, prior_sigma, most;               // p, s and bounds, of every parameter
};

struct Fit {
  Vector x;
  std::vector<Vector> covariance;
  std::vector<Vector> jacobian;  // of f at the last but one step: [observation][parameter]
  Vector weights;                // w
  int iterations = 0;
};

// Observations with used[i] == false are left out. Starts at `start`.
Fit robust_fit(const FitProblem& problem, const Vector& start, const std::vector<bool>& used,
               int max_iterations = 30);

// The x that solves a x = b for a symmetric positive definite `a` (Cholesky).
Vector solve_spd(const std::vector<Vector>& a, const Vector& b);

}  // namespace meshsim
