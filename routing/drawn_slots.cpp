#include "routing/drawn_slots.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "routing/popularity.hpp"
#include "routing/random.hpp"
#include "units/bounded_memo.hpp"

namespace meshsim {
namespace {

double open_unit(std::uint64_t seed, std::uint64_t index) {
  return random_unit(seed, index) + 0x1p-54;
}

// Neighbouring plans ask for the probabilities of one router again and again.
std::vector<double> known_probabilities(const std::vector<double>& weights, std::int64_t top_k) {
  constexpr std::size_t most = 1024;  // of 4 KB each for 256 experts
  static BoundedMemo<std::pair<std::int64_t, std::vector<double>>, std::vector<double>> known(most);
  return known.get({top_k, weights}, [&] { return inclusion_probabilities(weights, top_k); });
}

std::span<std::int64_t> row_of(CountMatrix& matrix, std::int64_t p) {
  return std::span(matrix.counts)
      .subspan(static_cast<std::size_t>(p * matrix.columns),
               static_cast<std::size_t>(matrix.columns));
}

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

// Counts of T trials by their laws, one draw after the other.
class Counts {
 public:
  Counts(std::span<const CountLaw> laws, double trials) : laws_(laws), trials_(trials) {
    constexpr double normal_from = 25;  // variance from which the normal law's skew is < 0.2
    for (std::size_t e = 0; e < laws.size(); ++e) {
      const CountLaw& law = laws[e];
      const bool drawn = law.variance > 0;
      const bool few = drawn && law.variance < normal_from && law.mean < trials / 2;
      if (few) few_.push_back(e);
      deviations_.push_back(drawn && !few ? std::sqrt(law.variance) : 0);
    }
  }

  void draw(std::uint64_t seed, std::span<double> counts) const {
    for (std::size_t e = 0; e < counts.size(); ++e) counts[e] = open_unit(seed, e);
    normal_quantiles(counts);
    for (std::size_t e = 0; e < counts.size(); ++e)
      counts[e] = laws_[e].mean + deviations_[e] * counts[e];
    for (const std::size_t e : few_)
      counts[e] = binomial_quantile(trials_, laws_[e].mean / trials_, open_unit(seed, e));
  }

 private:
  std::span<const CountLaw> laws_;
  double trials_;
  std::vector<double> deviations_;  // of the normal ones
  std::vector<std::size_t> few_;    // binomial ones
};

// Rounds to sums in the same space, one row after the other.
class Rounding {
 public:
  void run(std::span<const double> values, std::int64_t sum, std::int64_t most,
           std::span<std::int64_t> rounded) {
    std::int64_t missing = sum;
    const auto top = static_cast<double>(most);
    remainders_.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double least = values[i] > 0 ? values[i] : 0;
      const double value = least < top ? least : top;
      rounded[i] = static_cast<std::int64_t>(value);
      remainders_[i] = value - static_cast<double>(rounded[i]);
      missing -= rounded[i];
    }
    // The usual case: one more for each of the largest remainders.
    const bool usual = missing >= 0 && missing < std::ssize(values);
    if (!usual || !round_up(missing, most, rounded)) hand_out(missing, most, rounded);
  }

 private:
  // Of equal remainders the first comes first.
  bool larger(std::uint32_t a, std::uint32_t b) const {
    return remainders_[a] != remainders_[b] ? remainders_[a] > remainders_[b] : a < b;
  }

  // The `count` largest; or none, if that makes one of them more than `most`. First those above
  // some 256th are found, whichever they are: no branch depends on it.
  bool round_up(std::int64_t count, std::int64_t most, std::span<std::int64_t> rounded) {
    if (count == 0) return true;
    constexpr std::size_t parts = 256;
    std::array<std::int32_t, parts> of_part{};
    part_.resize(rounded.size());
    for (std::size_t i = 0; i < rounded.size(); ++i) {
      part_[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(remainders_[i] * parts));
      ++of_part[part_[i]];
    }
    std::size_t last = parts;
    std::int64_t above = 0;
    for (std::int64_t sum = 0; sum < count; sum += of_part[last]) {
      --last;
      above = sum;
    }
    order_.clear();
    bool fit = true;
    for (std::size_t i = 0; i < rounded.size(); ++i) {
      fit &= rounded[i] < most || part_[i] < last;
      if (part_[i] == last) order_.push_back(static_cast<std::uint32_t>(i));
    }
    if (!fit) return false;
    for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] += part_[i] > last ? 1 : 0;
    const auto end = order_.begin() + (count - above);
    if (end != order_.end())
      std::nth_element(order_.begin(), end, order_.end(),
                       [this](std::uint32_t a, std::uint32_t b) { return larger(a, b); });
    for (auto one = order_.begin(); one != end; ++one) ++rounded[*one];
    return true;
  }

  // Where bounds have cut a lot, more than once around; too much is taken from the end.
  void hand_out(std::int64_t missing, std::int64_t most, std::span<std::int64_t> rounded) {
    order_.resize(rounded.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [this](std::uint32_t a, std::uint32_t b) { return larger(a, b); });
    for (std::size_t i = 0; missing > 0; i = (i + 1) % order_.size()) {
      std::int64_t& value = rounded[order_[i]];
      if (value >= most) continue;
      ++value;
      --missing;
    }
    for (std::size_t i = order_.size(); missing < 0; i = i == 1 ? order_.size() : i - 1) {
      std::int64_t& value = rounded[order_[i - 1]];
      if (value == 0) continue;
      --value;
      ++missing;
    }
  }

  std::vector<double> remainders_;
  std::vector<std::uint8_t> part_;
  std::vector<std::uint32_t> order_;
};

// `most` per expert.
CountMatrix by_counts(std::span<const CountLaw> laws, const DrawShape& shape, std::int64_t most,
                      std::uint64_t seed) {
  CountMatrix slots(shape.ranks, static_cast<std::int64_t>(laws.size()));
  const Counts drawn(laws, static_cast<double>(shape.tokens_per_rank));
  double variance = 0;
  for (const CountLaw& law : laws) variance += law.variance;
  std::vector<double> counts(laws.size());
  Rounding rounding;
  for (std::int64_t p = 0; p < shape.ranks; ++p) {
    const std::uint64_t own = sub_seed(seed, static_cast<std::uint64_t>(p));
    drawn.draw(own, counts);
    const double missing = static_cast<double>(shape.tokens_per_rank * shape.top_k) -
                           std::accumulate(counts.begin(), counts.end(), 0.0);
    if (variance > 0)
      for (std::size_t e = 0; e < laws.size(); ++e)
        counts[e] += missing * laws[e].variance / variance;
    rounding.run(counts, shape.tokens_per_rank * shape.top_k, most, row_of(slots, p));
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

}  // namespace

std::vector<std::int64_t> rounded_to_sum(std::span<const double> values, std::int64_t sum,
                                         std::int64_t most) {
  std::vector<std::int64_t> rounded(values.size());
  Rounding().run(values, sum, most, rounded);
  return rounded;
}

RouterDraws::RouterDraws(std::vector<double> weights, const DrawShape& shape, DrawMode mode)
    : weights_(std::move(weights)), shape_(shape), mode_(mode) {
  if (mode_ != DrawMode::by_counts) return;
  for (const double p : known_probabilities(weights_, shape.top_k)) {
    const double mean = static_cast<double>(shape.tokens_per_rank) * p;
    laws_.push_back({mean, mean * (1 - p)});
  }
}

CountMatrix RouterDraws::operator()(std::uint64_t seed) const {
  const std::int64_t T = shape_.tokens_per_rank;
  if (mode_ == DrawMode::by_counts) return by_counts(laws_, shape_, T, seed);
  CountMatrix slots(shape_.ranks, std::ssize(weights_));
  Race race(weights_);
  for (std::int64_t p = 0; p < shape_.ranks; ++p)
    for (std::int64_t t = 0; t < T; ++t)
      race.run(seed, static_cast<std::uint64_t>(p * T + t), shape_.top_k, row_of(slots, p));
  return slots;
}

CountMatrix drawn_slots(std::span<const double> weights, const DrawShape& shape, std::uint64_t seed,
                        DrawMode mode) {
  return RouterDraws({weights.begin(), weights.end()}, shape, mode)(seed);
}

TextDraws::TextDraws(std::vector<double> cumulative, HashTable table, std::int64_t experts,
                     const DrawShape& shape, DrawMode mode)
    : cumulative_(std::move(cumulative)),
      table_(std::move(table)),
      experts_(experts),
      shape_(shape),
      mode_(mode) {
  if (mode_ != DrawMode::by_counts) return;
  // One token adds m_e slots to expert e: mean sum p_v m, variance sum p_v m^2 - mean^2.
  laws_.resize(static_cast<std::size_t>(experts));
  std::vector<std::int64_t> times(static_cast<std::size_t>(experts));
  double before = 0;
  for (std::int64_t v = 0; v < table_.vocab; ++v) {
    const double p = cumulative_[static_cast<std::size_t>(v)] - before;
    before = cumulative_[static_cast<std::size_t>(v)];
    for (const ExpertId e : table_.row(v)) ++times[static_cast<std::size_t>(e)];
    for (const ExpertId e : table_.row(v)) {
      const auto at = static_cast<std::size_t>(e);
      const auto m = static_cast<double>(std::exchange(times[at], 0));
      laws_[at].mean += p * m;
      laws_[at].variance += p * m * m;
    }
  }
  const auto T = static_cast<double>(shape.tokens_per_rank);
  for (CountLaw& law : laws_) {
    law.variance = T * std::max(0.0, law.variance - law.mean * law.mean - 1e-12);
    law.mean *= T;
  }
}

CountMatrix TextDraws::operator()(const DrawnText& text) const {
  const std::int64_t T = shape_.tokens_per_rank;
  if (mode_ == DrawMode::by_counts) {
    return by_counts(laws_, shape_, T * shape_.top_k,
                     sub_seed(text.seed, static_cast<std::uint64_t>(text.first)));
  }
  CountMatrix slots(shape_.ranks, experts_);
  for (std::int64_t i = 0; i < shape_.ranks * T; ++i) {
    const double u = random_unit(text.seed, static_cast<std::uint64_t>(text.first + i));
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, u);
    for (const ExpertId e : table_.row(found - cumulative_.begin())) ++slots.at(i / T, e);
  }
  return slots;
}

}  // namespace meshsim
