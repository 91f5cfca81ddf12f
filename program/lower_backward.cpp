#include "program/lowering.hpp"

#include <utility>

namespace meshsim {

BufferId Lowering::block_input(std::size_t r, Beside& beside) {
  const Run& run = runs_[r];
  if (stored_[r].inputs != no_buffer) return stored_[r].inputs;
  if (run.policy.input == Kept::on_device) return stored_[r].single_input;
  const BufferId fetched = carry(run);
  beside.push_back(emit_.host_copy("fetch", run.block.front()->layer_kind, Pass::backward,
                                   carry_bytes(run), fetched, false));
  return fetched;
}

Next Lowering::first_needed(const Run& run) const {
  const std::size_t j = run.recomputes() ? 0 : run.block.size() - 1;
  return {run.block[j], &run.again[j]};
}

std::vector<ProgramNode> Lowering::backward_block(std::size_t r, Copies& copies,
                                                  BufferId gradient_in, BufferId gradient_out,
                                                  Pending& pending, const Next& next,
                                                  Copies& next_copies, const LayerTemplate* below) {
  const Run& run = runs_[r];
  const std::size_t layers = run.block.size();
  std::vector<ProgramNode> nodes;
  std::vector<Instance> uses;
  for (std::size_t j = 0; j < layers; ++j) uses.push_back(instance(run, stored_[r], j));
  // A block of several layers holds its weights from the recomputation on.
  const bool held = run.recomputes() && layers > 1;
  recompute_block(r, uses, copies, nodes);
  BufferId gradient = gradient_in;
  for (std::size_t j = layers; j-- > 0;) {
    Instance& use = uses[j];
    const Next following = j == 0 ? next : Next{run.block[j - 1], &run.again[j - 1]};
    if (passes_.ahead() && !held) use.weights = std::move(copies);
    use.symbols[gradient_of(layer_output)] = gradient;
    use.symbols[gradient_of(layer_input)] = gradient = j == 0 ? gradient_out : gradient_carry(run);
    copies = j == 0 ? next_copies : no_copies(*following.layer);
    Beside beside;
    if (!held || j == 0) beside = gather_backward(following, copies);
    append(beside, reduce_pending(pending));
    hand_on(handed_backward_, Pass::backward, use);
    std::optional<Instance> following_use =
        begin_deferred(j == 0 ? below : run.block[j - 1], gradient);
    nodes.push_back(
        with_neighbours(sequence(passes_.backward(use, stored_[r].gradients[j], false, begun_,
                                                  following_use ? &*following_use : nullptr)),
                        std::move(beside)));
    hand_on(handed_backward_, Pass::backward, use);
    begun_ = following_use.has_value();
    if (following_use) hand_on(handed_backward_, Pass::backward, *following_use);
    pending = {use.layer, use.gradients, stored_[r].gradients[j]};
  }
  next_copies = std::move(copies);
  return nodes;
}

std::optional<Instance> Lowering::begin_deferred(const LayerTemplate* below, BufferId gradient) {
  if (below == nullptr || !passes_.ahead() || !defers_backward(*below)) return {};
  Instance use = emit_.instance(*below);
  use.symbols[gradient_of(layer_output)] = gradient;
  hand_on(handed_backward_, Pass::backward, use);
  return use;
}

void Lowering::recompute_block(std::size_t r, std::vector<Instance>& uses, Copies& copies,
                               std::vector<ProgramNode>& nodes) {
  const Run& run = runs_[r];
  const std::size_t layers = run.block.size();
  BufferId stream = no_buffer;
  for (std::size_t j = 0; j < layers; ++j) {
    const bool last = j + 1 == layers;
    Instance& use = uses[j];
    Beside beside;
    if (j == 0) stream = block_input(r, beside);
    use.symbols[layer_input] = stream;
    if (!last) {
      if (!use.symbols.contains(layer_output)) use.symbols[layer_output] = carry(run);
      stream = use.symbols[layer_output];
    }
    if (!run.recomputes()) continue;
    Copies following = last ? Copies{} : no_copies(*run.block[j + 1]);
    if (!last) append(beside, gather_backward({run.block[j + 1], &run.again[j + 1]}, following));
    append(beside, host_copies(run, j, use, false));
    if (passes_.ahead()) use.weights = std::move(copies);
    nodes.push_back(with_beside(sequence(passes_.recompute(use, run.again[j])), std::move(beside)));
    copies = layers > 1 ? std::move(following) : use.weights;
  }
}

Amount Lowering::make_gradients(std::size_t r) {
  const Run& run = runs_[r];
  Amount all;
  for (const LayerTemplate* layer : run.block) {
    const std::int64_t ahead = run.pipelined ? weights_ahead(plan_) : 0;
    const Amount bytes = emit_.numbers(*layer).gradients() * (ahead > 0 ? ahead : run.weight_sets);
    stored_[r].gradients.push_back(
        ahead > 0 ? emit_.buffer(layer->layer_kind + " whole gradients", "local_gradients", bytes)
                  : emit_.buffer(layer->layer_kind + " gradients", "gradients", bytes));
    all += bytes;
  }
  return all;
}

void Lowering::zero_gradients(std::vector<ProgramNode>& nodes) {
  Amount bytes;
  std::vector<BufferId> zeros;
  for (std::size_t r = 0; r < runs_.size(); ++r) {
    if (runs_[r].repeats == 1) continue;
    bytes += make_gradients(r);
    zeros.insert(zeros.end(), stored_[r].gradients.begin(), stored_[r].gradients.end());
  }
  if (zeros.empty()) return;
  nodes.push_back(emit_.move("zero_gradients", "global", Pass::backward, bytes, {}, zeros));
}

void Lowering::backward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                            BufferId& gradient, Pending& pending) {
  const Run& run = runs_[r];
  const Next own = first_needed(run);
  const Next following =
      r > 0 ? first_needed(runs_[r - 1]) : Next{&embedding_, &nothing_of_embedding_};
  if (run.repeats == 1) make_gradients(r);
  const BufferId batch = gradient;
  if (run.pipelined) gather_ahead(nodes, Pass::backward);
  if (run.pipelined) gradient = enter_pipeline(nodes, Pass::backward, batch);
  const LayerTemplate* before = r > 0 ? runs_[r - 1].block.back() : nullptr;
  const auto block = [&](const Next& next, Copies& next_copies, BufferId out, bool first = false) {
    return iteration(run,
                     backward_block(r, copies, gradient, out, pending, next, next_copies,
                                    first ? before : run.block.back()),
                     Pass::backward, out, batch);
  };
  stored_[r].repeat = run.repeats - 1;
  if (run.repeats > 1) {
    Copies handed = no_copies(*own.layer);
    nodes.push_back(block(own, handed, gradient));
    copies = handed;
    if (run.repeats > 2) {
      // The middle repeats take over copies and gradients from themselves: both sets live through
      // the loop.
      Copies second = no_copies(*own.layer);
      stored_[r].repeat = run.repeats - 2;
      append(nodes, iterations(run, block(own, second, gradient), run.repeats - run.idle - 2,
                               -exchange_stride(run)));
      copies = second;
    }
  }
  stored_[r].repeat = 0;
  Copies next = no_copies(*following.layer);
  const BufferId out = run.repeats > 1 ? gradient : gradient_carry(run);
  nodes.push_back(block(following, next, out, true));
  gradient = run.pipelined ? batch : out;
  copies = std::move(next);
  if (run.pipelined) scatter_behind(r, nodes);
  if (run.pipelined) sum_pipelined_gradients(r, nodes);
}

}  // namespace meshsim
