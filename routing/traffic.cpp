#include "routing/traffic.hpp"

#include "routing/all_to_all.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

// Adds one exchange within every group of the expert axis (same x) or of the tensor axis (same p).
class Grid {
 public:
  Grid(const LayerExchange& layer, Traffic& traffic)
      : experts_(layer.expert_ranks), tensors_(layer.tensor_ranks), traffic_(traffic) {}

  template <class Bytes>  // (source p, destination p) -> bytes
  void over_experts(std::string_view collective, Bytes bytes) {
    for (std::int64_t x = 0; x < tensors_; ++x)
      for (std::int64_t i = 0; i < experts_; ++i)
        for (std::int64_t j = 0; j < experts_; ++j)
          traffic_.add(collective, i * tensors_ + x, j * tensors_ + x, bytes(i, j));
  }

  void over_tensors(std::string_view collective, std::int64_t bytes) {
    for (std::int64_t p = 0; p < experts_; ++p)
      for (std::int64_t a = 0; a < tensors_; ++a)
        for (std::int64_t b = 0; b < tensors_; ++b)
          traffic_.add(collective, p * tensors_ + a, p * tensors_ + b, bytes);
  }

 private:
  std::int64_t experts_, tensors_;
  Traffic& traffic_;
};

void ragged(const LayerExchange& l, const CountMatrix& slots, Grid& grid) {
  const CountMatrix m = per_shard(slots, l.expert_ranks);
  const CountMatrix sent = l.buffer_factor > 0 ? truncated_to(m, expert_buffer_rows(l)) : m;
  const std::int64_t row = l.embedding * l.element_bytes;
  grid.over_experts("all_gather_shard_counts", [&](auto, auto) { return 4 * l.expert_ranks; });
  grid.over_experts("dispatch", [&](auto i, auto j) { return sent.at(i, j) * row; });
  grid.over_experts("all_gather_expert_counts", [&](auto, auto) { return 4 * l.experts; });
  grid.over_experts("combine",
                    [&](auto i, auto j) { return sent.at(j, i) * (row / l.tensor_ranks); });
}

void ring(const LayerExchange& l, Grid& grid) {
  const std::int64_t logits = l.tokens * l.experts * l.gate_bytes;
  const std::int64_t gathers =
      l.strategy == Strategy::embedding_chunks && l.logits_per_chunk ? l.chunks : 1;
  const std::int64_t row = l.embedding * l.element_bytes;
  grid.over_experts("all_gather_x", [&](auto, auto) { return l.tokens * row; });
  grid.over_experts("all_gather_gate_logits", [&](auto, auto) { return gathers * logits; });
  if (l.gate_tables > 1)
    grid.over_experts("all_gather_pre_bias", [&](auto, auto) { return gathers * logits; });
  grid.over_experts("reduce_scatter",
                    [&](auto, auto) { return l.tokens * (row / l.tensor_ranks); });
}

void batch_split(const LayerExchange& l, Grid& grid) {
  const std::int64_t row = l.embedding * l.element_bytes;
  const std::int64_t slots = l.tokens * l.top_k;
  const std::int64_t share = ceil_div(l.experts, l.expert_ranks);
  grid.over_experts("all_gather_x", [&](auto, auto) { return l.tokens * row; });
  grid.over_experts("all_gather_ids", [&](auto, auto) { return slots * 4; });
  grid.over_experts("all_gather_weights", [&](auto, auto) { return slots * l.weight_bytes; });
  grid.over_experts("all_reduce_counts",
                    [&](auto, auto) { return std::int64_t{2} * 2 * 4 * share; });
  grid.over_experts("reduce_scatter",
                    [&](auto, auto) { return l.tokens * (row / l.tensor_ranks); });
}

}  // namespace

void Traffic::add(std::string_view collective, std::int64_t src, std::int64_t dst,
                  std::int64_t bytes) {
  if (src == dst || bytes == 0) return;
  bytes_[{std::string(collective), src, dst}] += bytes;
}

void Traffic::add(const Traffic& other) {
  for (const auto& [key, bytes] : other.bytes_) bytes_[key] += bytes;
}

std::vector<TrafficRow> Traffic::rows() const {
  std::vector<TrafficRow> rows;
  rows.reserve(bytes_.size());
  for (const auto& [key, bytes] : bytes_)
    rows.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), bytes});
  return rows;
}

std::int64_t Traffic::bytes() const {
  std::int64_t sum = 0;
  for (const auto& [key, bytes] : bytes_) sum = checked_add(sum, bytes, "traffic");
  return sum;
}

std::int64_t expert_buffer_rows(const LayerExchange& l) {
  const std::int64_t parts = l.strategy == Strategy::batch_split    ? 2
                             : l.strategy == Strategy::token_chunks ? l.chunks
                                                                    : 1;
  const std::int64_t n = l.tokens / parts * l.top_k;
  if (l.buffer_factor > 0)
    return receive_buffer_rows(n, l.expert_ranks, l.experts, l.top_k, l.buffer_factor);
  if (l.strategy == Strategy::ragged_all_to_all && l.distinct_experts)
    return receive_buffer_rows(n, l.expert_ranks, l.experts, l.top_k, -1);
  return n * l.expert_ranks;
}

Traffic predicted_traffic(const LayerExchange& l, const CountMatrix& slots) {
  Traffic traffic;
  Grid grid(l, traffic);
  if (l.strategy == Strategy::ragged_all_to_all) {
    ragged(l, slots, grid);
  } else if (l.strategy == Strategy::batch_split) {
    batch_split(l, grid);
  } else {
    ring(l, grid);
  }
  if (l.tensor_ranks > 1) {
    const std::int64_t slice = l.embedding / l.tensor_ranks * l.element_bytes;
    const std::int64_t parts = l.strategy == Strategy::batch_split    ? 2
                               : l.strategy == Strategy::token_chunks ? l.chunks
                                                                      : 1;
    grid.over_tensors("tensor_reduce_scatter", parts * expert_buffer_rows(l) * slice);
    grid.over_tensors("tensor_all_gather", l.tokens * slice);
  }
  return traffic;
}

Traffic predicted_backward_traffic(const LayerExchange& l, const CountMatrix& slots) {
  Traffic traffic;
  Grid grid(l, traffic);
  const std::int64_t row = l.embedding * l.element_bytes;
  if (l.strategy == Strategy::ragged_all_to_all) {
    const CountMatrix m = per_shard(slots, l.expert_ranks);
    grid.over_experts("combine_back", [&](auto i, auto j) { return m.at(i, j) * row; });
    grid.over_experts("dispatch_back", [&](auto i, auto j) { return m.at(j, i) * row; });
    return traffic;
  }
  grid.over_experts("all_gather_dy", [&](auto, auto) { return l.tokens * row; });
  grid.over_experts("reduce_scatter_dx", [&](auto, auto) { return l.tokens * row; });
  if (l.strategy == Strategy::batch_split) {
    grid.over_experts("all_gather_x_again", [&](auto, auto) { return l.tokens * row; });
    grid.over_experts("reduce_scatter_d_weights",
                      [&](auto, auto) { return l.tokens * l.top_k * l.weight_bytes; });
  } else {
    grid.over_experts("reduce_scatter_d_pre",
                      [&](auto, auto) { return l.tokens * l.experts * l.gate_bytes; });
  }
  return traffic;
}

}  // namespace meshsim
