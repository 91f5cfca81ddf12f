#include "program/lowering.hpp"

#include <utility>

namespace meshsim {

BufferId Lowering::predictions(std::vector<ProgramNode>& nodes, Copies& copies, BufferId stream,
                               Pending& pending) {
  const auto depth = static_cast<std::size_t>(plan_.model.mtp_layers);
  std::vector<Instance> blocks;
  std::vector<BufferId> streams{stream};
  for (std::size_t d = 0; d < depth; ++d) {
    const LayerTemplate& following = d + 1 < depth ? mtp_ : head_;
    Instance& block = blocks.emplace_back(emit_.instance(mtp_));
    block.weights = std::move(copies);
    if (program_.loads && mtp_.exchange.parts > 0)
      block.moe_layer = exchanges_ / exchange_.parts - static_cast<std::int64_t>(depth - d);
    block.symbols[layer_input] = streams.back();
    block.symbols[layer_output] = outer_carry();
    streams.push_back(block.symbols[layer_output]);
    copies = no_copies(following);
    nodes.push_back(passes_.forward(block, gather_forward(following, copies)));
  }

  const BufferId store =
      emit_.buffer("head gradients", "gradients", emit_.numbers(head_).gradients());
  gradient_stores_.push_back(store);
  const Copies head_copies = std::move(copies);
  std::vector<Instance> losses;
  std::vector<BufferId> gradients;
  for (const BufferId of : streams) {
    gradients.push_back(outer_gradient_carry());
    Instance& loss = losses.emplace_back(emit_.instance(head_));
    loss.weights = head_copies;
    loss.symbols[layer_input] = of;
    loss.symbols[gradient_of(layer_input)] = gradients.back();
  }
  Copies sums = no_copies(head_);  // of the gradients of the head's weights
  const auto backward = [&](Instance& loss, Beside beside) {
    loss.gradients = sums;
    loss_backward(nodes, loss, head_copies, store, std::move(beside));
    sums = loss.gradients;
  };

  copies = no_copies(depth > 0 ? mtp_ : head_);
  for (std::size_t d = depth; d > 0; --d) {
    Beside beside;
    if (d == 1) beside = gather_backward({&mtp_, &nothing_of_mtp_}, copies);
    loss_forward(nodes, losses[d]);
    backward(losses[d], std::move(beside));
  }
  loss_forward(nodes, losses.front());
  BufferId through = no_buffer;
  for (std::size_t d = depth; d-- > 0;) {
    through = mtp_backward(nodes, blocks[d], gradients[d + 1], d > 0, copies, pending);
    if (d > 0) add_gradient(nodes, through, gradients[d]);
  }
  const Next first = first_needed(runs_.back());
  copies = no_copies(*first.layer);
  Beside beside = gather_backward(first, copies);
  append(beside, reduce_pending(pending));
  backward(losses.front(), std::move(beside));
  pending = {};
  if (tiles_ == 1 || !head_gathers()) pending = {&head_, sums, store};
  if (depth > 0) add_gradient(nodes, through, gradients.front());
  return gradients.front();
}

BufferId Lowering::mtp_backward(std::vector<ProgramNode>& nodes, Instance& block, BufferId gradient,
                                bool another, Copies& copies, Pending& pending) {
  if (passes_.ahead()) block.weights = std::move(copies);
  block.symbols[gradient_of(layer_output)] = gradient;
  copies = no_copies(mtp_);
  Beside beside;
  if (another) beside = gather_backward({&mtp_, &nothing_of_mtp_}, copies);
  append(beside, reduce_pending(pending));
  const BufferId store = emit_.buffer(
      "mtp gradients", "gradients", emit_.numbers(mtp_).gradients() - shared_table_gradient(mtp_));
  nodes.push_back(with_beside(sequence(passes_.backward(block, store, true)), std::move(beside)));
  pending = {&mtp_, block.gradients, store};
  gradient_stores_.push_back(store);
  return emit_.symbol(block, gradient_of(layer_input));
}

void Lowering::add_gradient(std::vector<ProgramNode>& nodes, BufferId from, BufferId to) {
  nodes.push_back(emit_.move("add_gradient", mtp_.layer_kind, Pass::backward,
                             outer_carry_bytes_ * 3, {from, to}, {to}));
}

void Lowering::loss_forward(std::vector<ProgramNode>& nodes, Instance& loss) {
  if (tiles_ == 1) nodes.push_back(passes_.forward(loss, {}));
}

void Lowering::loss_backward(std::vector<ProgramNode>& nodes, Instance& loss,
                             const Copies& head_copies, BufferId store, Beside beside) {
  if (tiles_ > 1) {
    tiled_loss(nodes, loss, store);
    append(nodes, std::move(beside));
    return;
  }
  if (passes_.ahead()) loss.weights = head_copies;
  nodes.push_back(with_beside(sequence(passes_.backward(loss, store)), std::move(beside)));
}

void Lowering::tiled_loss(std::vector<ProgramNode>& nodes, Instance& use, BufferId store) {
  const bool once = passes_.ahead() && !head_gathers();
  LayerPasses each(emit_, Prefetch::kernel);
  LayerPasses& passes = once ? passes_ : each;
  const Copies held = use.weights;
  Instance forward = use;
  if (!once) forward.weights = use.weights = no_copies(head_);
  nodes.push_back(repeat(tiles_, passes.forward(forward, {}), RepeatOf::loss_tiles));
  std::vector<ProgramNode> body = passes.recompute(use, recomputation(head_, {}, false));
  if (once) use.weights = held;
  append(body, passes.backward(use, store));
  nodes.push_back(repeat(tiles_, sequence(std::move(body)), RepeatOf::loss_tiles));
}

Amount Lowering::shared_table_gradient(const LayerTemplate& layer) const {
  for (std::size_t id = 0; id < layer.weights.size(); ++id) {
    if (layer.weights[id].name == "token_embedder/embedding")
      return emit_.numbers(layer).weight(id, WeightNumber::gradient_shard);
  }
  return {};
}

}  // namespace meshsim
