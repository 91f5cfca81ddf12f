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
  const Bytes payload(
      checked_product({rows, columns, element_bytes(plan_.training.activations)}, "a microbatch"));
  std::vector<ProgramNode> nodes;
  const auto send = [&](const char* name, BufferId buffer) {
    Leaf leaf;
    leaf.name = name;
    leaf.layer_kind = runs_.front().block.front()->layer_kind;
    leaf.pass = pass;
    leaf.work = Collective{CollectiveKind::permute, {"stage"}, schedule_.stages, payload};
    leaf.reads = leaf.writes = {buffer};
    nodes.push_back(leaf_node(std::move(leaf)));
  };
  send("pass_microbatch", microbatch);
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
  const std::string& kind = runs_.front().block.front()->layer_kind;
  const BufferId microbatch = pass == Pass::forward ? carry() : gradient_carry();
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

void Lowering::sum_pipelined_gradients(std::size_t r, std::vector<ProgramNode>& nodes) {
  const Run& run = runs_[r];
  const LayerKind& kind = plan_.model.kinds[static_cast<std::size_t>(plan_.model.layers.front())];
  // What is left of each once gathered weights' gradients have been scattered.
  std::map<std::vector<std::string>, Collective> sums;
  for (const Weight& weight :
       local_weights(plan_, plan_layer_tensors(plan_, kind), layer_batch(plan_).axes)) {
    if (!weight.gradient || weight.reduce_axes.empty()) continue;
    Collective& sum = sums[weight.reduce_axes];
    sum.kind = CollectiveKind::all_reduce;
    sum.mesh_axes = weight.reduce_axes;
    sum.group = weight.reduce_group;
    sum.payload +=
        Bytes(weight.local_gradient.value() / weight.gather_group) * weight.expert_copies;
  }
  for (const BufferId store : stored_[r].gradients) {
    std::vector<ProgramNode> once;
    for (const auto& [axes, sum] : sums) {
      Leaf leaf;
      leaf.name = "reduce_gradients";
      leaf.layer_kind = run.block.front()->layer_kind;
      leaf.pass = Pass::backward;
      leaf.work = sum;
      leaf.reads = leaf.writes = {store};
      once.push_back(leaf_node(std::move(leaf)));
    }
    if (!once.empty()) nodes.push_back(repeat(run.weight_sets, sequence(std::move(once))));
  }
}

}  // namespace meshsim
