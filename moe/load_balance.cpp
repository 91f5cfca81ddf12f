#include "moe/load_balance.hpp"

#include <fmt/format.h>

#include <numeric>

#include "moe/scores.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Sum over e of f q for tokens [first, first + count).
double density_times_probability(const Tensor<float>& gate_logits, std::span<const ExpertId> ids,
                                 std::int64_t first, std::int64_t count, std::int64_t top_k) {
  const auto experts = static_cast<std::size_t>(gate_logits.width());
  std::vector<double> slots(experts), probability(experts);
  std::vector<float> row(experts);
  for (std::int64_t t = first; t < first + count; ++t) {
    softmax_row(gate_logits.row(t), gate_logits.width(), row.data());
    for (std::size_t e = 0; e < experts; ++e) probability[e] += row[e];
    for (std::int64_t j = 0; j < top_k; ++j)
      slots[static_cast<std::size_t>(ids[static_cast<std::size_t>(t * top_k + j)])] += 1;
  }
  const auto tokens = static_cast<double>(count);
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += (slots[e] / tokens) * (probability[e] / tokens);
  return sum;
}

}  // namespace

double load_balance_loss(const Tensor<float>& gate_logits, std::span<const ExpertId> ids,
                         std::int64_t sequence, std::int64_t top_k, double weight,
                         std::int64_t chunks) {
  const std::int64_t tokens = gate_logits.rows(), experts = gate_logits.width();
  if (sequence < 1 || tokens % sequence != 0 || chunks < 1 || sequence % chunks != 0)
    throw Error(ErrorKind::invalid_input,
                fmt::format("{} tokens do not divide into sequences of {} and {} chunks", tokens,
                            sequence, chunks));
  const std::int64_t length = sequence / chunks, parts = tokens / length;
  if (parts == 0) return 0;
  double sum = 0;
  for (std::int64_t part = 0; part < parts; ++part)
    sum += density_times_probability(gate_logits, ids, part * length, length, top_k);
  return sum / static_cast<double>(parts) * static_cast<double>(experts) * weight;
}

std::vector<float> bias_update(std::span<const std::int64_t> counts, float rate) {
  const std::int64_t slots = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto experts = static_cast<std::int64_t>(counts.size());
  std::vector<float> update;
  update.reserve(counts.size());
  for (const std::int64_t count : counts) {  // sign(N/E - count) = sign(N - E count), exactly
    const std::int64_t lack = slots - experts * count;
    update.push_back(lack > 0 ? rate : lack < 0 ? -rate : 0.0F);
  }
  return update;
}

}  // namespace meshsim
