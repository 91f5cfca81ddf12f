#include "routing/drawn_slots.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "routing/popularity.hpp"
#include "routing/random.hpp"

namespace meshsim {
namespace {

double open_unit(std::uint64_t seed, std::uint64_t index) {
  return random_unit(seed, index) + 0x1p-54;
}

// T trials that each add `mean` / T on average, with the variance `variance` of their sum.
struct CountLaw {
  double mean = 0, variance = 0;
};

// The smallest c with P(X <= c) >= u, X binomial (trials, p).
double binomial_quantile(double trials, double p, double u) {
  double at = std::exp(trials * std::log1p(-p));  // P(X = 0); the caller keeps it far from 0
  double below = at;
  double c = 0;
  for (; below < u && c < trials; ++c) {
    at *= (trials - c) / (c + 1) * p / (1 - p);
    below += at;
  }
  return c;
}

double drawn_count(const CountLaw& law, double trials, double u) {
  constexpr double normal_from = 25;  // variance from which the normal law's skew is < 0.2
  if (law.variance <= 0) return law.mean;
  if (law.variance < normal_from && law.mean < trials / 2)
    return binomial_quantile(trials, law.mean / trials, u);
  return law.mean + std::sqrt(law.variance) * normal_quantile(u);
}

// One source's counts. `most` per expert.
std::vector<std::int64_t> counts_of_source(std::span<const CountLaw> laws, std::int64_t trials,
                                           std::int64_t slots, std::int64_t most,
                                           std::uint64_t seed) {
  std::vector<double> counts;
  double sum = 0, variance = 0;
  for (std::size_t e = 0; e < laws.size(); ++e) {
    counts.push_back(drawn_count(laws[e], static_cast<double>(trials), open_unit(seed, e)));
    sum += counts.back();
    variance += laws[e].variance;
  }
  const double missing = static_cast<double>(slots) - sum;
  if (variance > 0)
    for (std::size_t e = 0; e < laws.size(); ++e)
      counts[e] += missing * laws[e].variance / variance;
  return rounded_to_sum(counts, slots, most);
}

CountMatrix by_counts(std::span<const CountLaw> laws, const DrawShape& shape, std::int64_t most,
                      std::uint64_t seed) {
  CountMatrix slots(shape.ranks, static_cast<std::int64_t>(laws.size()));
  for (std::int64_t p = 0; p < shape.ranks; ++p) {
    const std::vector<std::int64_t> row =
        counts_of_source(laws, shape.tokens_per_rank, shape.tokens_per_rank * shape.top_k, most,
                         sub_seed(seed, static_cast<std::uint64_t>(p)));
    std::copy(row.begin(), row.end(), slots.counts.begin() + p * slots.columns);
  }
  return slots;
}

// The k experts that arrive first after exponential times of rates `weights`.
class Race {
 public:
  explicit Race(std::span<const double> weights) : weights_(weights), times_(weights.size()) {}

  // Adds one token's experts to `counts`.
  void run(std::uint64_t seed, std::uint64_t token, std::int64_t top_k,
           std::span<std::int64_t> counts) {
    for (std::size_t e = 0; e < weights_.size(); ++e)
      times_[e] = {-std::log(open_unit(seed, token * weights_.size() + e)) / weights_[e], e};
    if (static_cast<std::size_t>(top_k) < times_.size())
      std::nth_element(times_.begin(), times_.begin() + top_k - 1, times_.end());
    for (std::int64_t j = 0; j < top_k; ++j) ++counts[times_[static_cast<std::size_t>(j)].second];
  }

 private:
  std::span<const double> weights_;
  std::vector<std::pair<double, std::size_t>> times_;
};

std::span<std::int64_t> row_of(CountMatrix& matrix, std::int64_t p) {
  return std::span(matrix.counts)
      .subspan(static_cast<std::size_t>(p * matrix.columns),
               static_cast<std::size_t>(matrix.columns));
}

}  // namespace

std::vector<std::int64_t> rounded_to_sum(std::span<const double> values, std::int64_t sum,
                                         std::int64_t most) {
  std::vector<std::int64_t> rounded;
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t missing = sum;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = std::clamp(values[i], 0.0, static_cast<double>(most));
    rounded.push_back(static_cast<std::int64_t>(value));
    remainders.emplace_back(value - std::floor(value), i);
    missing -= rounded.back();
  }
  const auto larger = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  const auto fits = [&](const auto& one) { return rounded[one.second] < most; };
  if (missing >= 0 && missing < static_cast<std::int64_t>(remainders.size())) {
    // The usual case: one more for each of the largest remainders, in whatever order.
    const auto end = remainders.begin() + missing;
    std::nth_element(remainders.begin(), end, remainders.end(), larger);
    if (std::all_of(remainders.begin(), end, fits)) {
      for (auto one = remainders.begin(); one != end; ++one) ++rounded[one->second];
      return rounded;
    }
  }
  std::sort(remainders.begin(), remainders.end(), larger);
  // Where bounds have cut a lot, more than once around; too much is taken from the end.
  for (std::size_t i = 0; missing > 0; i = (i + 1) % remainders.size()) {
    std::int64_t& value = rounded[remainders[i].second];
    if (value >= most) continue;
    ++value;
    --missing;
  }
  for (std::size_t i = remainders.size(); missing < 0; i = i == 1 ? remainders.size() : i - 1) {
    std::int64_t& value = rounded[remainders[i - 1].second];
    if (value == 0) continue;
    --value;
    ++missing;
  }
  return rounded;
}

CountMatrix drawn_slots(std::span<const double> weights, const DrawShape& shape, std::uint64_t seed,
                        DrawMode mode) {
  const std::int64_t T = shape.tokens_per_rank;
  if (mode == DrawMode::by_counts) {
    std::vector<CountLaw> laws;
    for (const double p : inclusion_probabilities(weights, shape.top_k)) {
      const double mean = static_cast<double>(T) * p;
      laws.push_back({mean, mean * (1 - p)});
    }
    return by_counts(laws, shape, T, seed);
  }
  CountMatrix slots(shape.ranks, static_cast<std::int64_t>(weights.size()));
  Race race(weights);
  for (std::int64_t p = 0; p < shape.ranks; ++p)
    for (std::int64_t t = 0; t < T; ++t)
      race.run(seed, static_cast<std::uint64_t>(p * T + t), shape.top_k, row_of(slots, p));
  return slots;
}

CountMatrix hashed_slots(std::span<const double> cumulative, const HashTable& table,
                         std::int64_t experts, const DrawShape& shape, const DrawnText& text,
                         DrawMode mode) {
  const std::int64_t T = shape.tokens_per_rank;
  if (mode == DrawMode::by_counts) {
    // One token adds m_e slots to expert e: mean sum p_v m, variance sum p_v m^2 - mean^2.
    std::vector<CountLaw> laws(static_cast<std::size_t>(experts));
    std::vector<std::int64_t> times(static_cast<std::size_t>(experts));
    double before = 0;
    for (std::int64_t v = 0; v < table.vocab; ++v) {
      const double p = cumulative[static_cast<std::size_t>(v)] - before;
      before = cumulative[static_cast<std::size_t>(v)];
      for (const ExpertId e : table.row(v)) ++times[static_cast<std::size_t>(e)];
      for (const ExpertId e : table.row(v)) {
        const auto at = static_cast<std::size_t>(e);
        const auto m = static_cast<double>(std::exchange(times[at], 0));
        laws[at].mean += p * m;
        laws[at].variance += p * m * m;
      }
    }
    for (CountLaw& law : laws) {
      law.variance =
          static_cast<double>(T) * std::max(0.0, law.variance - law.mean * law.mean - 1e-12);
      law.mean *= static_cast<double>(T);
    }
    return by_counts(laws, shape, T * shape.top_k,
                     sub_seed(text.seed, static_cast<std::uint64_t>(text.first)));
  }
  CountMatrix slots(shape.ranks, experts);
  for (std::int64_t i = 0; i < shape.ranks * T; ++i) {
    const double u = random_unit(text.seed, static_cast<std::uint64_t>(text.first + i));
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, u);
    for (const ExpertId e : table.row(found - cumulative.begin())) ++slots.at(i / T, e);
  }
  return slots;
}

}  // namespace meshsim
