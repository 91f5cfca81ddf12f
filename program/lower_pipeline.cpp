#include <map>
#include <utility>

#include "program/lowering.hpp"
#include "units/checked.hpp"

namespace meshsim {

std::vector<ProgramNode> Lowering::pass_on(Pass pass, BufferId microbatch, BufferId batch) {
  // A microbatch's stream, not padded: tokens and columns as the tensor axes split them.
  const LocalBatch here = layer_batch(plan_);
  const std::int64_t rows = here.tokens() / shards(plan_.mesh, here.axes.rows);
  const std::int64_t columns = plan_.model.emb_dim / shards(plan_.mesh, here.axes.embed);
  const std::int64_t streams =
      plan_.model.hyper_connections ? plan_.model.hyper_connections->streams : 1;
  const Bytes payload(checked_product(
      {rows, streams, columns, element_bytes(plan_.training.activations)}, "a microbatch"));
  std::vector<ProgramNode> nodes;
  const auto send = [&](const char* name, BufferId buffer) {
    Leaf leaf;
    leaf.name = name;
    leaf.layer_kind = pipelined_run().block.front()->layer_kind;
    leaf.pass = pass;
    leaf.work = Collective{CollectiveKind::permute, {"stage"}, schedule_.stages, payload};
    leaf.reads = leaf.writes = {buffer};
    nodes.push_back(leaf_node(std::move(leaf)));
  };
  send("pass_microbatch", microbatch);
  if (ahead_ != no_buffer) nodes.back().leaf.reads.push_back(ahead_);
  send("pass_batch", batch);
  if (waiting_ != no_buffer) send("pass_waiting", waiting_);
  return nodes;
}

ProgramNode Lowering::iteration(const Run& run, std::vector<ProgramNode> body, Pass pass,
                                BufferId microbatch, BufferId batch) {
  if (!run.pipelined) return sequence(std::move(body));
  std::vector<ProgramNode> sends = pass_on(pass, microbatch, batch);
  if (schedule_.hop > 1) return with_beside(sequence(std::move(body)), std::move(sends));
  append(body, std::move(sends));
  return sequence(std::move(body));
}

std::vector<ProgramNode> Lowering::iterations(const Run& run, ProgramNode body, std::int64_t busy,
                                              std::int32_t stride) const {
  std::vector<ProgramNode> nodes;
  if (run.idle > 0) {
    nodes.push_back(repeat(run.idle, idle(body), RepeatOf::layers, stride));
    move_exchanges(body, static_cast<std::int32_t>(run.idle) * stride);
  }
  nodes.push_back(repeat(busy, std::move(body), RepeatOf::layers, stride));
  return nodes;
}

BufferId Lowering::enter_pipeline(std::vector<ProgramNode>& nodes, Pass pass, BufferId batch) {
  const Name kind = pipelined_run().block.front()->layer_kind;
  const BufferId microbatch =
      pass == Pass::forward ? carry(pipelined_run()) : gradient_carry(pipelined_run());
  std::vector<BufferId> writes{microbatch};
  if (schedule_.waits()) {
    waiting_ = emit_.buffer("waiting microbatches",
                            pass == Pass::forward ? "carries" : "activation_gradients",
                            carry_bytes_ * schedule_.microbatches);
    writes.push_back(waiting_);
  }
  nodes.push_back(
      emit_.move("enter_pipeline", kind, pass, carry_bytes_ * 2, {batch}, std::move(writes)));
  return microbatch;
}

namespace {

// The weights of a layer that are gathered, by the axes that they are gathered over.
std::map<std::vector<std::string>, Collective> gathered_weights(const Plan& plan, int kind) {
  std::map<std::vector<std::string>, Collective> all;
  const LayerKind& of = plan.model.kinds[static_cast<std::size_t>(kind)];
  for (const Weight& weight :
       local_weights(plan, plan_layer_tensors(plan, of), layer_batch(plan).axes)) {
    if (weight.gather_axes.empty()) continue;
    Collective& work = all[weight.gather_axes];
    work.mesh_axes = weight.gather_axes;
    work.group = weight.gather_group;
    work.payload += weight.local_gradient;  // as large as the weight itself
  }
  return all;
}

// What of a layer rests on a device: of its weights, and as much of their gradients.
Bytes resting_shards(const Plan& plan, int kind) {
  const LayerKind& of = plan.model.kinds[static_cast<std::size_t>(kind)];
  Bytes shards;
  for (const Weight& weight :
       local_weights(plan, plan_layer_tensors(plan, of), layer_batch(plan).axes)) {
    if (weight.trainable) shards += weight.gradient_shard;
  }
  return shards;
}

}  // namespace

Bytes Lowering::whole_weights(const Run& run) const {
  Bytes all;
  for (const int kind : run.kinds) {
    for (const auto& [axes, work] : gathered_weights(plan_, kind)) all += work.payload;
  }
  return all;
}

void Lowering::gather_ahead(std::vector<ProgramNode>& nodes, Pass pass) {
  const Run& run = pipelined_run();
  const std::int64_t sets = weights_ahead(plan_);
  const bool once = plan_.config.boolean("pipeline_fsdp_ag_once");
  if (sets == 0 || (once && pass == Pass::backward)) return;
  ahead_ = emit_.buffer("weights gathered ahead", "gathered_weights", whole_weights(run) * sets);
  std::vector<ProgramNode> set;
  for (std::size_t j = 0; j < run.block.size(); ++j) {
    if (plan_.training.parameters_on_host)
      set.push_back(emit_.host_copy("fetch_weights", run.block[j]->layer_kind, pass,
                                    resting_shards(plan_, run.kinds[j]), ahead_, false));
    for (auto& [axes, work] : gathered_weights(plan_, run.kinds[j])) {
      Leaf leaf;
      leaf.name = "gather_weights";
      leaf.layer_kind = run.block[j]->layer_kind;
      leaf.pass = pass;
      leaf.work = work;
      leaf.writes = {ahead_};
      set.push_back(leaf_node(std::move(leaf)));
    }
  }
  nodes.push_back(repeat(run.weight_sets, sequence(std::move(set))));
}

void Lowering::scatter_behind(std::size_t r, std::vector<ProgramNode>& nodes) {
  if (weights_ahead(plan_) == 0) return;
  const Run& run = runs_[r];
  for (std::size_t j = 0; j < run.block.size(); ++j) {
    BufferId& store = stored_[r].gradients[j];
    const BufferId whole = store;
    const Name name = run.block[j]->layer_kind;
    store = emit_.buffer(name + " gradients", "gradients",
                         resting_shards(plan_, run.kinds[j]) * run.weight_sets);
    std::vector<ProgramNode> set;
    for (auto& [axes, work] : gathered_weights(plan_, run.kinds[j])) {
      Leaf leaf;
      leaf.name = "scatter_gradients";
      leaf.layer_kind = name;
      leaf.pass = Pass::backward;
      leaf.work = work;
      std::get<Collective>(leaf.work).kind = CollectiveKind::reduce_scatter;
      leaf.reads = {whole};
      leaf.writes = {store};
      set.push_back(leaf_node(std::move(leaf)));
    }
    nodes.push_back(repeat(run.weight_sets, sequence(std::move(set))));
  }
}

void Lowering::sum_pipelined_gradients(std::size_t r, std::vector<ProgramNode>& nodes) {
  const Run& run = runs_[r];
  const ActivationAxes axes = layer_batch(plan_).axes;
  for (std::size_t j = 0; j < run.block.size(); ++j) {
    const LayerKind& kind = plan_.model.kinds[static_cast<std::size_t>(run.kinds[j])];
    // What is left of each once gathered weights' gradients have been scattered.
    std::map<std::vector<std::string>, Collective> sums;
    for (const Weight& weight : local_weights(plan_, plan_layer_tensors(plan_, kind), axes)) {
      if (!weight.gradient || weight.reduce_axes.empty()) continue;
      Collective& sum = sums[weight.reduce_axes];
      sum.kind = CollectiveKind::all_reduce;
      sum.mesh_axes = weight.reduce_axes;
      sum.group = weight.reduce_group;
      sum.payload +=
          Bytes(weight.local_gradient.value() / weight.gather_group) * weight.expert_copies;
    }
    const BufferId store = stored_[r].gradients[j];
    std::vector<ProgramNode> once;
    for (const auto& [over, sum] : sums) {
      Leaf leaf;
      leaf.name = "reduce_gradients";
      leaf.layer_kind = run.block[j]->layer_kind;
      leaf.pass = Pass::backward;
      leaf.work = sum;
      leaf.reads = leaf.writes = {store};
      once.push_back(leaf_node(std::move(leaf)));
    }
    if (!once.empty()) nodes.push_back(repeat(run.weight_sets, sequence(std::move(once))));
  }
}

}  // namespace meshsim
