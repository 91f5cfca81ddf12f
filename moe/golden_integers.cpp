// Golden behaviours of counts, offsets and predicted bytes.
#include <algorithm>

#include "moe/golden_check.hpp"
#include "routing/all_to_all.hpp"
#include "routing/grouped_tiles.hpp"
#include "routing/local_permute.hpp"
#include "routing/traffic.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

Computed counts(const std::string& name, const std::vector<std::int64_t>& values) {
  return computed_integers(name, std::span<const std::int64_t>(values),
                           {static_cast<std::int64_t>(values.size())});
}

CountMatrix matrix_of(const GoldenCase& c, const std::string& key, std::int64_t rows,
                      std::int64_t columns) {
  CountMatrix m(rows, columns);
  m.counts = c.integers(key, {rows, columns});
  if (std::any_of(m.counts.begin(), m.counts.end(), [](std::int64_t n) { return n < 0; }))
    throw Error(ErrorKind::invalid_input, key + ": counts must not be negative");
  return m;
}

// The parameters of all ranks, stacked.
void add_stacked(Outputs& out, const std::string& prefix,
                 const std::vector<AllToAllParameters>& ranks) {
  const auto p = static_cast<std::int64_t>(ranks.size());
  const auto stacked = [&](const char* name, auto member) {
    std::vector<std::int64_t> all;
    for (const AllToAllParameters& each : ranks)
      all.insert(all.end(), (each.*member).begin(), (each.*member).end());
    out.push_back(computed_integers(prefix + name, std::span<const std::int64_t>(all), {p, p}));
  };
  stacked("_input_offsets", &AllToAllParameters::input_offsets);
  stacked("_send_sizes", &AllToAllParameters::send_sizes);
  stacked("_output_offsets", &AllToAllParameters::output_offsets);
  stacked("_recv_sizes", &AllToAllParameters::recv_sizes);
}

Outputs buffer_sizes(const GoldenCase& c) {
  const auto arguments = c.integers("args", {-1, 5});
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < arguments.size(); i += 5)
    sizes.push_back(receive_buffer_rows(arguments[i], arguments[i + 1], arguments[i + 2],
                                        arguments[i + 3],
                                        static_cast<double>(arguments[i + 4]) / 1000.0));
  return {counts("buffer_size", sizes)};
}

Outputs a2a_params(const GoldenCase& c) {
  if (c.has_input("args")) return buffer_sizes(c);
  const std::int64_t ranks = c.integer("EP");
  Outputs out;
  std::vector<AllToAllParameters> dispatch, combine;
  if (c.integer("batch_sharded") == 0) {
    const auto groups = c.integers("group_sizes", {ranks});
    for (std::int64_t p = 0; p < ranks; ++p)
      combine.push_back(combine_parameters_unsharded(groups, p));
    add_stacked(out, "combine", combine);
    return out;
  }
  const CountMatrix m = matrix_of(c, "matrix", ranks, ranks);
  const CountMatrix kept =
      c.real("ragged_buffer_factor") > 0 ? truncated_to(m, c.integer("buffer_size")) : m;
  for (std::int64_t p = 0; p < ranks; ++p) {
    dispatch.push_back(dispatch_parameters(m, kept, p));
    combine.push_back(combine_parameters(m, kept, p));
  }
  add_stacked(out, "dispatch", dispatch);
  add_stacked(out, "combine", combine);
  out.push_back(computed_integers("truncated_matrix", std::span<const std::int64_t>(kept.counts),
                                  {ranks, ranks}));
  return out;
}

Outputs local_permute(const GoldenCase& c) {
  const std::int64_t local = c.integer("local_experts"), shard = c.integer("shard_index");
  const std::int64_t experts = local * c.integer("EP");
  const Tensor<float> inputs = c.tensor("inputs", {-1, -1});
  LocalPermute sorted;
  if (c.integer("is_offset") != 0) {
    sorted = local_permute_offset(c.ids("global_sorted_experts", {inputs.rows()}), shard, local);
  } else {
    const CountMatrix sizes = matrix_of(c, "global_group_sizes", c.integer("EP"), experts);
    sorted = local_permute_received(sizes, shard, local, inputs.rows());
  }
  Tensor<float> rows(inputs.shape());
  for (std::int64_t i = 0; i < rows.rows(); ++i)
    std::copy_n(inputs.row(sorted.order[static_cast<std::size_t>(i)]), rows.width(), rows.row(i));
  const Shape shape{inputs.rows()};
  return {computed("sorted_inputs", rows),
          computed_integers("sorted_indices", std::span<const Slot>(sorted.order), shape),
          counts("local_group_size", sorted.group_sizes),
          computed_integers("sorted_expert_ids", std::span<const ExpertId>(sorted.labels), shape)};
}

Outputs gmm_tile_counts(const GoldenCase& c) {
  const auto tiles = tiles_per_group(c.integers("group_sizes", {-1}), c.integer("tile_m"));
  std::int64_t total = 0;
  for (const std::int64_t count : tiles) total += count;
  return {counts("tiles_per_group", tiles),
          computed_scalar("total_tiles", static_cast<double>(total))};
}

// Bytes of one collective that each rank sends, [P]; or receives.
std::vector<std::int64_t> bytes_of(const Traffic& traffic, const std::string& collective,
                                   std::int64_t ranks, std::int64_t TrafficRow::*end) {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(ranks));
  for (const TrafficRow& row : traffic.rows())
    if (row.collective == collective) bytes[static_cast<std::size_t>(row.*end)] += row.bytes;
  return bytes;
}

Outputs comm_bytes(const GoldenCase& c) {
  LayerExchange l;
  l.expert_ranks = c.integer("EP");
  l.tokens = c.integer("T");
  l.embedding = c.integer("d");
  l.experts = c.integer("E");
  l.top_k = c.integer("top_k");
  l.element_bytes = c.integer("act_bytes");
  l.gate_bytes = c.integer("gate_bytes");
  l.weight_bytes = c.integer("wbytes");
  const std::int64_t p = l.expert_ranks, local = l.experts / p, width = c.integer("H");
  const CountMatrix m = matrix_of(c, "M", p, p);
  CountMatrix slots(p, l.experts);  // which expert of a shard does not matter
  for (std::int64_t i = 0; i < p; ++i)
    for (std::int64_t j = 0; j < p; ++j) slots.at(i, j * local) = m.at(i, j);

  Outputs out;
  const Traffic ragged = predicted_traffic(l, slots);
  out.push_back(counts("ra2a_dispatch_sent", bytes_of(ragged, "dispatch", p, &TrafficRow::src)));
  out.push_back(counts("ra2a_dispatch_recv", bytes_of(ragged, "dispatch", p, &TrafficRow::dst)));
  out.push_back(counts("ra2a_combine_sent", bytes_of(ragged, "combine", p, &TrafficRow::src)));
  const auto scalar = [&](const std::string& name, std::int64_t value) {
    out.push_back(computed_scalar(name, static_cast<double>(value)));
  };
  const auto sent_by_first = [&](const Traffic& traffic, const std::string& collective) {
    return bytes_of(traffic, collective, p, &TrafficRow::src)[0];
  };
  scalar("ra2a_buffer_rows_worst", expert_buffer_rows(l));
  // The reference counts one counter per rank here, where MaxText gathers a row of P.
  scalar("ra2a_counts_ag_sent", sent_by_first(ragged, "all_gather_shard_counts") / p);
  scalar("ra2a_expert_counts_ag_sent", sent_by_first(ragged, "all_gather_expert_counts"));
  l.strategy = Strategy::ring_of_experts;
  const Traffic ring = predicted_traffic(l, slots);
  scalar("ring_ag_x", sent_by_first(ring, "all_gather_x"));
  scalar("ring_ag_logits", sent_by_first(ring, "all_gather_gate_logits"));
  scalar("ring_rs", sent_by_first(ring, "reduce_scatter"));
  l.strategy = Strategy::batch_split;  // golden figures are per microbatch
  const Traffic split = predicted_traffic(l, slots);
  scalar("bs_ag_x", sent_by_first(split, "all_gather_x") / 2);
  scalar("bs_ag_ids_weights",
         (sent_by_first(split, "all_gather_ids") + sent_by_first(split, "all_gather_weights")) / 2);
  scalar("bs_rs", sent_by_first(split, "reduce_scatter") / 2);
  // Beside the layer: 3 e_l d H D (F-1)/F gathered weights, and the busiest link of a uniform
  // all-to-all on a ring, n d D P / 8.
  const std::int64_t fsdp = c.integer("fsdp");
  const std::int64_t weights = 3 * local * l.embedding * width * l.element_bytes;
  scalar("fsdp_ag", weights / fsdp * (fsdp - 1));
  scalar("uniform_ring_link_max", l.tokens * l.top_k * l.embedding * l.element_bytes * p / 8);
  std::vector<std::int64_t> forward, backward;
  for (std::int64_t j = 0; j < p; ++j) {
    forward.push_back(6 * m.column_sum(j) * l.embedding * width);
    backward.push_back(2 * forward.back());
  }
  out.push_back(counts("gmm_flops_fwd", forward));
  out.push_back(counts("gmm_flops_bwd", backward));
  return out;
}

}  // namespace

std::span<const Behaviour> integer_behaviours() {
  static const std::vector<Behaviour> all{{"a2a_params", a2a_params},
                                          {"local_permute", local_permute},
                                          {"gmm_tile_counts", gmm_tile_counts},
                                          {"comm_bytes", comm_bytes}};
  return all;
}

}  // namespace meshsim
