#include "moe/validation_run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "moe/backward.hpp"
#include "moe/gemm.hpp"
#include "moe/rank_grid.hpp"
#include "moe/run_weights.hpp"
#include "ranks/in_process_ranks.hpp"
#include "routing/random.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// What one rank saw.
template <class T>
struct RankRecord {
  struct Place {
    std::int64_t layer, step;
    Ledger ledger;
    CountMatrix slots;  // [P, E]
    double loss;
  };
  std::vector<Place> places;
  std::vector<Tensor<T>> outputs;    // per step: x after the last layer, [T, d]
  std::vector<Tensor<T>> gradients;  // per step and layer: dx, [T, d]; or none
};

template <class T>
void add(Tensor<T>& x, const Tensor<T>& y) {
  for (std::int64_t i = 0; i < x.size(); ++i)
    x.data()[i] = from_float<T>(to_float(x.data()[i]) + to_float(y.data()[i]));
}

template <class T>
RankRecord<T> run_rank(const RunConfig& run, Communicator& world, std::int64_t tensor_ranks) {
  Ledger ledger;
  RankGrid grid = make_grid(world, tensor_ranks, ledger);
  const std::int64_t p = grid.experts.place();
  const std::int64_t tokens = run.tokens / grid.experts.size();
  std::vector<MoeWeights<T>> weights;
  for (std::int64_t l = 0; l < run.layers; ++l)
    weights.push_back(
        drawn_weights<T>(run, l, p, grid.experts.size(), grid.tensors.place(), tensor_ranks));
  RankRecord<T> record;
  for (std::int64_t step = 0; step < run.steps; ++step) {
    const auto ids = std::span(run.token_ids)
                         .subspan(static_cast<std::size_t>(step * run.tokens + p * tokens),
                                  static_cast<std::size_t>(tokens));
    Tensor<T> x = embedded<T>(run, ids);  // [T, d]
    for (std::int64_t l = 0; l < run.layers; ++l) {
      ledger = {};
      MoeWeights<T>& w = weights[static_cast<std::size_t>(l)];
      RandomDraw draw{sub_seed(run.seed, static_cast<std::uint64_t>(5 + step * run.layers + l)),
                      {}};
      for (std::int64_t t = 0; t < tokens; ++t) draw.tokens.push_back(p * tokens + t);
      const RoutedAndSharedMoE<T> layer(run.moe, w, l, &run.table);
      const Tensor<T> normalised = rms_normalised(x);
      const MoeOutput<T> out = layer(normalised, ids, grid, draw);
      if constexpr (std::is_same_v<T, float>) {
        if (run.backward) {
          ledger = {};  // of both passes: the gradients need the forward pass again
          record.gradients.push_back(routed_moe_gradients(normalised, ids, out.y, w, run.moe,
                                                          run.moe.hashes(l) ? &run.table : nullptr,
                                                          grid)
                                         .dx);
        }
      }
      add(x, out.y);
      for (std::size_t e = 0; e < out.bias_update.size(); ++e) w.bias[e] += out.bias_update[e];
      record.places.push_back({l, step, std::move(ledger), out.slots, out.load_balance_loss});
    }
    record.outputs.push_back(std::move(x));
  }
  return record;
}

// Refuses a run whose weights alone exceed the memory of this machine: the system would kill it,
// and not with a message. `held` is the share of the experts that ranks of this process hold.
void check_memory(const RunConfig& run, std::int64_t element_bytes, double held) {
  const MoeConfig& moe = run.moe;
  const double weights = 3.0 * static_cast<double>(run.layers) *
                         static_cast<double>(moe.rule.experts) *
                         static_cast<double>(moe.embedding) * static_cast<double>(moe.width) *
                         static_cast<double>(element_bytes) * held;
  const double memory =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (weights < memory) return;
  throw Error(ErrorKind::resource_limit,
              fmt::format("the weights need {:.1f} GiB and this machine has {:.1f} GiB",
                          weights / 0x1p30, memory / 0x1p30),
              "fewer layers=, num_experts=, a smaller base_emb_dim= or base_moe_mlp_dim=, "
              "dtype=bfloat16, or compare_single_rank=false");
}

// Everybody's bytes on rank 0, in the order of the ranks; not counted as traffic of the layer.
std::vector<std::vector<std::byte>> gathered(Communicator& world, std::span<const std::byte> mine) {
  const auto ranks = static_cast<std::size_t>(world.size());
  const auto size = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> sizes(ranks);
  std::vector<Block> to(ranks, Block{0, 8}), from(ranks);
  for (std::size_t i = 0; i < ranks; ++i) from[i] = {static_cast<std::int64_t>(8 * i), 8};
  world.all_to_all(reinterpret_cast<const std::byte*>(&size), to,
                   reinterpret_cast<std::byte*>(sizes.data()), from);
  to.assign(ranks, Block{});
  to[0] = {0, size};
  from.assign(ranks, Block{});
  std::int64_t total = 0;
  if (world.rank() == 0)
    for (std::size_t i = 0; i < ranks; ++i) {
      from[i] = {total, sizes[i]};
      total += sizes[i];
    }
  std::vector<std::byte> all(static_cast<std::size_t>(total));
  world.all_to_all(mine.data(), to, all.data(), from);
  std::vector<std::vector<std::byte>> result;
  for (const Block& block : from)
    result.emplace_back(all.begin() + block.offset, all.begin() + block.offset + block.size);
  return result;
}

template <class Element>
std::vector<std::vector<Element>> gathered_elements(Communicator& world,
                                                    std::span<const Element> mine) {
  std::vector<std::vector<Element>> result;
  for (const auto& bytes : gathered(world, std::as_bytes(mine))) {
    result.emplace_back(bytes.size() / sizeof(Element));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(result.back())).begin());
  }
  return result;
}

// Both ledgers of one rank and place as integers: {sent or received, collective, src, dst, bytes}.
constexpr std::array<std::string_view, 20> collectives{"all_gather_shard_counts",
                                                       "all_gather_expert_counts",
                                                       "dispatch",
                                                       "combine",
                                                       "all_gather_x",
                                                       "all_gather_gate_logits",
                                                       "all_gather_pre_bias",
                                                       "reduce_scatter",
                                                       "all_gather_ids",
                                                       "all_gather_weights",
                                                       "all_reduce_counts",
                                                       "tensor_reduce_scatter",
                                                       "tensor_all_gather",
                                                       "combine_back",
                                                       "dispatch_back",
                                                       "all_gather_dy",
                                                       "reduce_scatter_dx",
                                                       "reduce_scatter_d_pre",
                                                       "all_gather_x_again",
                                                       "reduce_scatter_d_weights"};

void append(std::vector<std::int64_t>& flat, std::int64_t side, const Traffic& traffic) {
  for (const TrafficRow& row : traffic.rows()) {
    const auto found = std::find(collectives.begin(), collectives.end(), row.collective);
    flat.insert(flat.end(), {side, found - collectives.begin(), row.src, row.dst, row.bytes});
  }
}

Ledger world_ledger(Communicator& world, const Ledger& mine) {
  std::vector<std::int64_t> flat;
  append(flat, 0, mine.sent);
  append(flat, 1, mine.received);
  Ledger all;
  for (const auto& rows : gathered_elements(world, std::span<const std::int64_t>(flat)))
    for (std::size_t i = 0; i < rows.size(); i += 5)
      (rows[i] == 0 ? all.sent : all.received)
          .add(collectives[static_cast<std::size_t>(rows[i + 1])], rows[i + 2], rows[i + 3],
               rows[i + 4]);
  return all;
}

bool distinct(const RunConfig& run, std::int64_t layer) {
  return run.moe.hashes(layer) ? !run.table.repeats_experts() : !run.moe.rule.random_ids;
}

// One rank with all tokens and all experts: what the others must agree with.
class Alone : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_to_all(const std::byte* send, std::span<const Block> to, std::byte* receive,
                  std::span<const Block> from) override {
    std::copy_n(send + to[0].offset, to[0].size, receive + from[0].offset);
  }
};

template <class T>
SingleRankComparison compare_with_single_rank(const RunConfig& run, const RoutingTrace& routing,
                                              const std::vector<std::vector<T>>& outputs,
                                              const std::vector<std::vector<T>>& gradients) {
  RunConfig single = run;
  single.ranks = single.tensor_ranks = 1;
  Alone alone;
  const RankRecord<T> expected = run_rank<T>(single, alone, 1);
  SingleRankComparison result;
  result.routing_equal = true;
  for (const auto& place : expected.places) {
    const CountMatrix many = routing.slots(place.layer, place.step);
    for (std::int64_t e = 0; e < many.columns; ++e)
      if (many.column_sum(e) != place.slots.at(0, e)) result.routing_equal = false;
  }
  bool close = true;
  const auto compare = [&](const std::vector<std::vector<T>>& these,
                           const std::vector<Tensor<T>>& those, double& most) {
    for (std::size_t i = 0; i < these.size(); ++i)
      for (std::size_t j = 0; j < these[i].size(); ++j) {
        const double b = to_float(those[i].data()[j]);
        const double error = std::abs(to_float(these[i][j]) - b);
        most = std::max(most, std::isfinite(error) ? error : std::numeric_limits<double>::max());
        if (!(error <= 1e-5 * (1 + std::abs(b)))) close = false;
      }
  };
  compare(outputs, expected.outputs, result.max_abs_error);
  compare(gradients, expected.gradients, result.max_abs_gradient_error);
  result.judged = std::is_same_v<T, float> && run.moe.ragged_buffer_factor <= 0;
  result.passed = result.routing_equal && close;
  return result;
}

template <class T>
ValidationResult validated(const RunConfig& run, Communicator& world) {
  set_gemm_threads(world.size() > 1 ? 1 : 0);
  const RankRecord<T> record = run_rank<T>(run, world, run.tensor_ranks);
  ValidationResult result;
  result.routing.model = run.model;
  result.routing.ranks = run.expert_ranks();
  result.routing.experts = run.moe.rule.experts;
  result.routing.top_k = run.moe.rule.top_k;
  result.routing.layers = run.layers;
  result.routing.steps = run.steps;
  result.routing.tokens_per_rank = run.tokens_per_rank();
  auto places = record.places;
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    return std::pair(a.layer, a.step) < std::pair(b.layer, b.step);
  });
  for (const auto& place : places) {
    const Ledger all = world_ledger(world, place.ledger);
    const std::array<double, 1> loss{place.loss};
    double sum = 0;
    for (const auto& each : gathered_elements(world, std::span<const double>(loss)))
      if (!each.empty()) sum += each[0];
    if (world.rank() != 0) continue;
    const LayerExchange exchange =
        exchange_of(run.moe, run.expert_ranks(), run.tensor_ranks, run.tokens_per_rank(), sizeof(T),
                    distinct(run, place.layer));
    Traffic predicted = predicted_traffic(exchange, place.slots);
    if (run.backward) predicted.add(predicted_backward_traffic(exchange, place.slots));
    if (!(all.sent == predicted) || !(all.received == predicted))
      result.predicted_equals_moved = false;
    result.moved_bytes += all.sent.bytes();
    result.received_bytes += all.received.bytes();
    result.predicted_bytes += predicted.bytes();
    for (const TrafficRow& row : all.sent.rows())
      result.moved.push_back({place.layer, place.step, row});
    result.routing.add(place.layer, place.step, place.slots);
    if (run.moe.load_balance_loss_weight > 0 && !run.moe.hashes(place.layer))
      result.losses.push_back({place.layer, place.step, sum / world.size()});
  }
  if (!run.compare_single_rank || world.size() == 1) return result;
  const auto of_all_tokens = [&](const std::vector<Tensor<T>>& tensors) {
    std::vector<std::vector<T>> all;
    for (const Tensor<T>& mine : tensors) {
      all.emplace_back();
      const auto ranks = gathered_elements(world, mine.flat());
      for (std::size_t rank = 0; rank < ranks.size();
           rank += static_cast<std::size_t>(run.tensor_ranks))  // the others hold the same
        all.back().insert(all.back().end(), ranks[rank].begin(), ranks[rank].end());
    }
    return all;
  };
  const auto outputs = of_all_tokens(record.outputs);
  const auto gradients = of_all_tokens(record.gradients);
  if (world.rank() == 0)
    result.single_rank = compare_with_single_rank(run, result.routing, outputs, gradients);
  return result;
}

}  // namespace

ValidationResult run_validation(const RunConfig& run, Communicator& world) {
  const double copy = run.compare_single_rank && world.size() > 1 && world.rank() == 0 ? 1 : 0;
  check_memory(run, run.bfloat16 ? 2 : 4, copy + 1.0 / static_cast<double>(world.size()));
  return run.bfloat16 ? validated<Bf16>(run, world) : validated<float>(run, world);
}

ValidationResult run_validation_in_process(const RunConfig& run) {
  const double copy = run.compare_single_rank && run.ranks > 1 ? 1 : 0;
  check_memory(run, run.bfloat16 ? 2 : 4, copy + 1.0);
  ValidationResult result;
  run_in_process(static_cast<int>(run.ranks), [&](Communicator& world) {
    ValidationResult mine = run_validation(run, world);
    if (world.rank() == 0) result = std::move(mine);
  });
  return result;
}

}  // namespace meshsim
