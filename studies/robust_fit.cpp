#include "studies/robust_fit.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace meshsim {
namespace {

using Matrix = std::vector<Vector>;

constexpr double scale = 3;             // k
constexpr double difference = 1e-3;     // of a parameter, for derivatives
constexpr double smallest_step = 1e-5;  // below which the fit has converged

double loss(const FitProblem& problem, const std::vector<bool>& used, const Vector& x,
            const Vector& f) {
  double sum = 0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    if (!used[i]) continue;
    const double r = (f[i] - problem.measured[i]) / problem.sigma[i] / scale;
    sum += scale * scale * std::log1p(r * r);
  }
  for (std::size_t j = 0; j < x.size(); ++j) {
    const double z = (x[j] - problem.prior[j]) / problem.prior_sigma[j];
    sum += z * z;
  }
  return sum;
}

Matrix jacobian_at(const FitProblem& problem, const Vector& x) {
  Matrix jacobian(problem.measured.size(), Vector(x.size()));
  for (std::size_t j = 0; j < x.size(); ++j) {
    Vector above = x;
    Vector below = x;
    above[j] += difference;
    below[j] -= difference;
    const Vector more = problem.model(above);
    const Vector less = problem.model(below);
    for (std::size_t i = 0; i < more.size(); ++i)
      jacobian[i][j] = (more[i] - less[i]) / (2 * difference);
  }
  return jacobian;
}

// The normal equations  a d = b  of one Gauss-Newton step.
struct Normal {
  Matrix a;
  Vector b;
};

Normal normal_at(const FitProblem& problem, const Vector& x, const Vector& f, const Matrix& j,
                 const Vector& weights) {
  const std::size_t n = x.size();
  Normal result{Matrix(n, Vector(n)), Vector(n)};
  for (std::size_t p = 0; p < n; ++p) {
    const double precision = 1 / (problem.prior_sigma[p] * problem.prior_sigma[p]);
    result.a[p][p] = precision;
    result.b[p] = (problem.prior[p] - x[p]) * precision;
  }
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double w = weights[i] / (problem.sigma[i] * problem.sigma[i]);
    for (std::size_t p = 0; p < n; ++p) {
      result.b[p] += w * j[i][p] * (problem.measured[i] - f[i]);
      for (std::size_t q = 0; q < n; ++q) result.a[p][q] += w * j[i][p] * j[i][q];
    }
  }
  return result;
}

// The step within the bounds: a parameter that would cross its bound stops there, and the others
// are solved again.
Vector bounded_step(Normal normal, const Vector& x, const Vector& most) {
  const std::size_t n = x.size();
  std::vector<bool> fixed(n, false);
  Vector step;
  for (std::size_t round = 0; round <= n; ++round) {
    step = solve_spd(normal.a, normal.b);
    bool crossed = false;
    for (std::size_t p = 0; p < n; ++p) {
      if (fixed[p] || x[p] + step[p] <= most[p]) continue;
      fixed[p] = crossed = true;
      const double to_bound = most[p] - x[p];
      for (std::size_t q = 0; q < n; ++q) {
        normal.b[q] -= normal.a[q][p] * to_bound;
        normal.a[p][q] = normal.a[q][p] = 0;
      }
      normal.a[p][p] = 1;
      normal.b[p] = to_bound;
      for (std::size_t q = 0; q < n; ++q) {
        if (fixed[q]) normal.b[q] = most[q] - x[q];
      }
    }
    if (!crossed) break;
  }
  return step;
}

Vector weights_at(const FitProblem& problem, const std::vector<bool>& used, const Vector& f) {
  Vector weights(f.size());
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double r = (f[i] - problem.measured[i]) / problem.sigma[i] / scale;
    weights[i] = used[i] ? 1 / (1 + r * r) : 0;
  }
  return weights;
}

Matrix inverse(const Matrix& a) {
  Matrix result;
  for (std::size_t p = 0; p < a.size(); ++p) {
    Vector unit(a.size());
    unit[p] = 1;
    result.push_back(solve_spd(a, unit));
  }
  return result;
}

// Moves x along `step`, and f = f(x) with it: by half of it until that descends, and by twice as
// much while that descends further, as it does where the loss is flatter than the weights say.
// False when nothing descends that is worth a step.
bool descend(const FitProblem& problem, const std::vector<bool>& used, const Vector& step,
             Vector& x, Vector& f) {
  struct Place {
    Vector x, f;
    double loss;
  };
  const auto at = [&](double part) {
    Place place{x, {}, 0};
    for (std::size_t p = 0; p < x.size(); ++p)
      place.x[p] = std::min(x[p] + part * step[p], problem.most[p]);
    place.f = problem.model(place.x);
    place.loss = loss(problem, used, place.x, place.f);
    return place;
  };
  double largest = 0;
  for (const double component : step) largest = std::max(largest, std::abs(component));
  Place best{x, f, loss(problem, used, x, f)};
  const double before = best.loss;
  double part = 1;
  for (; part * largest >= smallest_step && part > 1e-3; part /= 2) {
    Place next = at(part);
    if (!(next.loss < before)) continue;
    best = std::move(next);
    break;
  }
  if (!(best.loss < before)) return false;
  for (double further = 2; part == 1 && further < 1e3; further *= 2) {
    Place next = at(further);
    if (!(next.loss < best.loss)) break;
    best = std::move(next);
  }
  x = std::move(best.x);
  f = std::move(best.f);
  return true;
}

}  // namespace

Vector solve_spd(const std::vector<Vector>& a, const Vector& b) {
  const std::size_t n = b.size();
  Matrix l(n, Vector(n));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = a[i][j];
      for (std::size_t k = 0; k < j; ++k) sum -= l[i][k] * l[j][k];
      if (i == j && !(sum > 0)) throw std::invalid_argument("not positive definite");
      l[i][j] = i == j ? std::sqrt(sum) : sum / l[j][j];
    }
  }
  Vector x = b;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) x[i] -= l[i][k] * x[k];
    x[i] /= l[i][i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) x[i] -= l[k][i] * x[k];
    x[i] /= l[i][i];
  }
  return x;
}

Fit robust_fit(const FitProblem& problem, const Vector& start, const std::vector<bool>& used,
               int max_iterations) {
  Fit fit;
  fit.x = start;
  Vector f = problem.model(fit.x);
  Normal normal;
  bool moving = true;
  while (moving && fit.iterations < max_iterations) {
    ++fit.iterations;
    fit.jacobian = jacobian_at(problem, fit.x);
    fit.weights = weights_at(problem, used, f);
    normal = normal_at(problem, fit.x, f, fit.jacobian, fit.weights);
    const Vector step = bounded_step(normal, fit.x, problem.most);
    moving = descend(problem, used, step, fit.x, f);
  }
  double squares = 0;
  double sum = 0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double r = (f[i] - problem.measured[i]) / problem.sigma[i];
    squares += fit.weights[i] * r * r;
    sum += fit.weights[i];
  }
  fit.covariance = inverse(normal.a);
  const double inflation = sum > 0 ? std::max(1.0, squares / sum) : 1;
  for (Vector& row : fit.covariance) {
    for (double& value : row) value *= inflation;
  }
  return fit;
}

}  // namespace meshsim
