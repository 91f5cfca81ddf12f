#include "studies/robust_fit.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace meshsim;

namespace {

constexpr double unbounded = std::numeric_limits<double>::infinity();

// f_i = x_0 + i x_1.
FitProblem line(Vector measured, double prior_sigma) {
  FitProblem problem;
  problem.sigma.assign(measured.size(), 0.1);
  problem.measured = std::move(measured);
  problem.prior = {0, 0};
  problem.prior_sigma = {prior_sigma, prior_sigma};
  problem.most = {unbounded, unbounded};
  problem.model = [n = problem.sigma.size()](const Vector& x) {
    Vector f;
    for (std::size_t i = 0; i < n; ++i) f.push_back(x[0] + static_cast<double>(i) * x[1]);
    return f;
  };
  return problem;
}

std::vector<bool> all_of(const FitProblem& problem) {
  return std::vector<bool>(problem.measured.size(), true);
}

}  // namespace

TEST_CASE("a system of equations", "[fit]") {
  // [4 2; 2 3] [1; 2] = [8; 8]
  const Vector x = solve_spd({{4, 2}, {2, 3}}, {8, 8});
  CHECK(x[0] == Approx(1));
  CHECK(x[1] == Approx(2));
  CHECK_THROWS(solve_spd({{1, 2}, {2, 1}}, {1, 1}));
}

TEST_CASE("weak priors let the observations speak", "[fit]") {
  const FitProblem problem = line({1, 3, 5, 7}, 1000);
  const Fit fit = robust_fit(problem, {0, 0}, all_of(problem));
  CHECK(fit.x[0] == Approx(1).margin(1e-4));
  CHECK(fit.x[1] == Approx(2).margin(1e-4));
  // (J'J)^-1 sigma^2 with J = [1 i]: sum 1 = 4, sum i = 6, sum i^2 = 14, determinant 20.
  CHECK(fit.covariance[1][1] == Approx(0.01 * 4 / 20).epsilon(1e-3));
  CHECK(fit.covariance[0][1] == Approx(-0.01 * 6 / 20).epsilon(1e-3));
}

TEST_CASE("an observation without a cause does not pull", "[fit]") {
  const FitProblem problem = line({1, 3, 5, 7, 109}, 1000);  // the last one is 1000 sigma away
  const Fit fit = robust_fit(problem, {1, 2}, all_of(problem));
  CHECK(fit.x[1] == Approx(2).margin(0.01));
  CHECK(fit.weights[4] < 1e-4);
  // Its being left out is the same.
  const Fit without = robust_fit(problem, {0, 0}, {true, true, true, true, false});
  CHECK(without.x[1] == Approx(2).margin(1e-4));
  CHECK(without.weights[4] == 0);
}

TEST_CASE("what no observation moves keeps its prior", "[fit]") {
  FitProblem problem = line({1}, 0.5);  // i = 0: x_1 has no effect
  problem.prior = {0, 7};
  const Fit fit = robust_fit(problem, {0, 7}, all_of(problem));
  CHECK(fit.x[1] == 7);
  CHECK(fit.covariance[1][1] == Approx(0.25));
  // x_0: precision w/0.01 of the observation against 1/0.25 of the prior, and w of its residual.
  const double w = fit.weights[0];
  CHECK(w == Approx(1 / (1 + std::pow((1 - fit.x[0]) / 0.1 / 3, 2))).epsilon(1e-3));
  CHECK(fit.x[0] == Approx(100 * w / (100 * w + 4)).epsilon(1e-4));
}

TEST_CASE("a bound holds and the others are fitted on it", "[fit]") {
  FitProblem problem = line({1, 3, 5, 7}, 1000);
  for (const double most : {1.9, 1.5}) {
    problem.most[1] = most;
    const Fit fit = robust_fit(problem, {0, 0}, all_of(problem));
    CHECK(fit.x[1] == Approx(most));
    // The loss is even about the mean of y - most i, which is 4 - 1.5 most. At 1.5 it is almost
    // flat there: its second derivative, 2 sum (1 - u^2) / (1 + u^2)^2 of u = r / k = 5/6 and 5/2,
    // is 0.03 where the weights alone say 2.9.
    CHECK(fit.x[0] == Approx(4 - 1.5 * most).margin(1e-3));
  }
}
