#include "program/batch_split.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <utility>

#include "units/checked.hpp"

namespace meshsim {
namespace {

using Ops = std::vector<OpTemplate>;

bool is_stream(Name symbol) {
  const Name of = symbol.starts_with("d_") ? Name(symbol.text().substr(2)) : symbol;
  return of == layer_input || of == layer_output;
}

// One microbatch's operations, by the parts of the schedule; backward ones in the order in which
// they run.
struct Microbatch {
  Ops attention, choices, gather, sort, experts, add_up, reduce, residual;
  Ops attention_back, choices_back, gather_back, sort_back, experts_back, add_up_back, reduce_back,
      residual_back;
};

Name own(Name name, std::int64_t m) { return fmt::format("{}@{}", name.text(), m); }

OpTemplate of_microbatch(OpTemplate op, std::int64_t m) {
  op.name = own(op.name, m);
  for (auto* symbols : {&op.reads, &op.writes, &op.spares}) {
    for (Name& symbol : *symbols) {
      if (!is_stream(symbol)) symbol = own(symbol, m);
    }
  }
  for (Name& name : op.after) name = own(name, m);
  op.part = m;
  return op;
}

// The gradients of weights that microbatch 1 has written already are read, and added to.
void add_to_gradients(OpTemplate& op, const LayerTemplate& layer) {
  auto* work = std::get_if<Compute>(&op.work);
  if (work == nullptr) return;
  for (const std::size_t id : op.gradients) {
    if (layer.weights[id].gradient) work->hbm_bytes += layer.weights[id].gathered;
  }
}

// Where a stage of one microbatch's layer belongs.
enum class Place { attention, choices, gather, sort, experts, add_up, reduce, residual };

Place after(Place place, const std::string& stage) {
  using namespace batch_split_stages;
  if (place == Place::attention && (stage == "mlp_norm" || stage == "mhc_mlp/collapse"))
    return Place::choices;
  if (stage == gather) return Place::gather;
  if (stage == permute) return Place::sort;
  if (stage == experts) return Place::experts;
  if (stage == unpermute) return Place::add_up;
  if (stage == reduce) return Place::reduce;
  return place == Place::reduce ? Place::residual : place;
}

Microbatch microbatch(const LayerTemplate& half, std::int64_t m) {
  Microbatch all;
  const std::array forward{&all.attention, &all.choices, &all.gather, &all.sort,
                           &all.experts,   &all.add_up,  &all.reduce, &all.residual};
  const std::array backward{&all.attention_back, &all.choices_back, &all.gather_back,
                            &all.sort_back,      &all.experts_back, &all.add_up_back,
                            &all.reduce_back,    &all.residual_back};
  Place place = Place::attention;
  for (const Stage& stage : half.stages) {
    place = after(place, stage.name);
    const auto at = static_cast<std::size_t>(place);
    const bool travels = place == Place::gather || place == Place::reduce;
    const Ops& there = travels ? stage.forward_beside : stage.forward;
    const Ops& back = travels ? stage.backward_beside : stage.backward;
    if (there.size() + back.size() != stage.forward.size() + stage.forward_beside.size() +
                                          stage.backward.size() + stage.backward_beside.size())
      throw std::logic_error("a stage of a microbatch that both computes and travels: " +
                             stage.name);
    for (const OpTemplate& op : there) forward[at]->push_back(of_microbatch(op, m));
    Ops returned;
    for (const OpTemplate& op : back) {
      returned.push_back(of_microbatch(op, m));
      if (m == 0) add_to_gradients(returned.back(), half);
    }
    // Stages run backward from the last to the first.
    backward[at]->insert(backward[at]->begin(), returned.begin(), returned.end());
  }
  return all;
}

// `op` waits for the last of `before`.
void wait_for(Ops& ops, const Ops& before) {
  if (!ops.empty() && !before.empty()) ops.front().after.push_back(before.back().name);
}

Ops joined(std::initializer_list<Ops> parts) {
  Ops all;
  for (const Ops& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

bool splits_batch(const Plan& plan) {
  return plan.expert_axes == ExpertAxes::batch_split && plan.model.has_experts();
}

std::optional<std::string> batch_split_not_lowered(const Plan& plan) {
  if (!splits_batch(plan)) return {};
  const ResolvedConfig& config = plan.config;
  for (const char* axis :
       {"tensor", "tensor_sequence", "context", "context_usp_ulysses", "stage"}) {
    if (plan.mesh.size(axis) > 1)
      return fmt::format("the batch-split schedule with a {} degree", axis);
  }
  if (config.integer("batch_split_factor") > batch_split_parts)
    return "the batch-split schedule in more than two microbatches";
  if (!config.boolean("sparse_matmul"))
    return "the batch-split schedule with the dense path of experts";
  if (config.integer("num_moe_token_chunks") > 1 || config.integer("num_moe_emb_chunks") > 1)
    return "the batch-split schedule with experts in chunks";
  for (const LayerKind& kind : plan.model.kinds) {
    const auto* moe = std::get_if<MoeMlp>(&kind.mlp);
    if (moe != nullptr && moe->expert_bias)
      return "the batch-split schedule with biases of experts";
  }
  if (layer_batch(plan).sequences % batch_split_parts != 0)
    return fmt::format("the batch-split schedule with an odd number of sequences on a device: {}",
                       layer_batch(plan).sequences);
  return {};
}

LocalBatch half_batch(const LocalBatch& batch) {
  LocalBatch half = batch;
  half.sequences /= batch_split_parts;
  return half;
}

bool is_staggered(const LayerTemplate& layer) {
  return layer.symbols.contains(own("up_checkpoint", 0));
}

std::vector<std::string> batch_split_assumptions(const Plan& plan) {
  std::vector<std::string> all{
      "batch split: two microbatches of every second sequence; layers keep their input, the result "
      "of their attention kernel and twice the mean of the rows of gates and ups on the host, "
      "whatever remat_policy says",
      "batch split: a device with more than twice the mean of rows computes its gates and ups "
      "again, which is not counted",
      "batch split: expert_only is sharded over expert where logical_axis_rules do not name it"};
  if (plan.model.hyper_connections)
    all.emplace_back(
        "batch split: the sums of experts are kept on the host too, for the gradient "
        "of the streams' mixing");
  return all;
}

RematPolicy batch_split_policy(const Plan& plan) {
  RematPolicy policy;
  policy.input = Kept::on_host;
  for (const char* symbol : {"context", "lse", "up_checkpoint"})
    policy.symbols[symbol] = Kept::on_host;
  if (plan.model.hyper_connections) policy.symbols["routed_out"] = Kept::on_host;
  for (const char* symbol : {"all_ids", "all_weights"}) policy.symbols[symbol] = Kept::on_device;
  return policy;
}

LayerTemplate stagger(const LayerTemplate& half) {
  LayerTemplate layer;
  layer.layer_kind = half.layer_kind;
  layer.weights = half.weights;
  layer.exchange = half.exchange;
  for (const auto& [name, symbol] : half.symbols) {
    if (is_stream(name)) {
      Symbol both = symbol;
      both.bytes = symbol.bytes * batch_split_parts;
      both.touched = symbol.touched * batch_split_parts;
      layer.symbols[name] = both;
      continue;
    }
    for (std::int64_t m = 0; m < batch_split_parts; ++m) layer.symbols[own(name, m)] = symbol;
  }
  Microbatch zero = microbatch(half, 0);
  Microbatch one = microbatch(half, 1);
  // What travels starts when the core is done with what it carries.
  wait_for(zero.gather, zero.choices);
  wait_for(one.gather, one.choices);
  wait_for(zero.reduce, zero.add_up);
  wait_for(zero.reduce_back, one.add_up_back);
  wait_for(zero.add_up_back, zero.reduce_back);
  wait_for(one.choices_back, one.gather_back);
  wait_for(zero.choices_back, zero.gather_back);

  Stage& first = layer.stages.emplace_back(Stage{"attention_0", {}, {}, {}, {}});
  first.forward = zero.attention;
  first.backward = zero.attention_back;
  Stage& second = layer.stages.emplace_back(Stage{"attention_1", {}, {}, {}, {}});
  second.forward = joined({zero.choices, one.attention});
  second.forward_beside = zero.gather;
  second.backward = joined({one.attention_back, zero.choices_back});
  second.backward_beside = zero.gather_back;
  Stage& third = layer.stages.emplace_back(Stage{"experts_0", {}, {}, {}, {}});
  third.forward = joined({zero.sort, one.choices, zero.experts});
  third.forward_beside = one.gather;
  third.backward = joined({zero.experts_back, one.choices_back, zero.sort_back});
  third.backward_beside = one.gather_back;
  Stage& fourth = layer.stages.emplace_back(Stage{"experts_1", {}, {}, {}, {}});
  fourth.forward = joined({one.sort, zero.add_up, one.experts});
  fourth.forward_beside = zero.reduce;
  fourth.backward = joined(
      {zero.residual_back, one.add_up_back, one.experts_back, zero.add_up_back, one.sort_back});
  fourth.backward_beside = zero.reduce_back;
  Stage& fifth = layer.stages.emplace_back(Stage{"add_up", {}, {}, {}, {}});
  fifth.forward = joined({zero.residual, one.add_up});
  Stage& returning = layer.stages.emplace_back(Stage{"return_1", {}, {}, {}, {}});
  returning.forward_beside = one.reduce;
  returning.backward_beside = one.reduce_back;
  Stage& last = layer.stages.emplace_back(Stage{"residual_1", {}, {}, {}, {}});
  last.forward = one.residual;
  last.backward = one.residual_back;

  std::erase_if(layer.stages, [](const Stage& stage) {
    return stage.forward.empty() && stage.forward_beside.empty() && stage.backward.empty() &&
           stage.backward_beside.empty();
  });
  const bool returns = !one.reduce.empty();
  const bool weighted = std::any_of(one.residual.begin(), one.residual.end(),
                                    [](const OpTemplate& op) { return !op.weights.empty(); });
  layer.deferred = returns && !weighted ? 2 : 0;
  std::int32_t index = 0;
  for (Stage& stage : layer.stages) {
    for (auto* ops :
         {&stage.forward, &stage.forward_beside, &stage.backward, &stage.backward_beside}) {
      for (OpTemplate& op : *ops) op.index = index++;
    }
  }
  return layer;
}

}  // namespace meshsim
