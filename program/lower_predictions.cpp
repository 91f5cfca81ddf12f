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
    block.symbols[layer_input] = streams.back();
    block.symbols[layer_output] = carry();
    streams.push_back(block.symbols[layer_output]);
    copies = no_copies(following);
    nodes.push_back(passes_.forward(block, gather_forward(following, copies), true));
  }
  const Next first = depth > 0 ? Next{&mtp_, &nothing_of_mtp_} : first_needed(runs_.back());
  Copies next_copies = no_copies(*first.layer);
  const std::vector<BufferId> gradients =
      losses(nodes, copies, streams, gather_backward(first, next_copies), pending);
  copies = std::move(next_copies);
  for (std::size_t d = depth; d-- > 0;) {
    Instance& block = blocks[d];
    const Next following = d > 0 ? Next{&mtp_, &nothing_of_mtp_} : first_needed(runs_.back());
    if (passes_.ahead()) block.weights = std::move(copies);
    block.symbols[gradient_of(layer_output)] = gradients[d + 1];
    copies = no_copies(*following.layer);
    Beside beside = gather_backward(following, copies);
    append(beside, reduce_pending(pending));
    const BufferId store =
        emit_.buffer("mtp gradients", "gradients",
                     emit_.numbers(mtp_).gradients() - shared_table_gradient(mtp_));
    nodes.push_back(with_beside(sequence(passes_.backward(block, store)), std::move(beside)));
    const BufferId through = emit_.symbol(block, gradient_of(layer_input));
    nodes.push_back(emit_.move("add_gradient", mtp_.layer_kind, Pass::backward, carry_bytes_ * 3,
                               {through, gradients[d]}, {gradients[d]}));
    pending = {&mtp_, block.gradients, store};
    gradient_stores_.push_back(store);
  }
  return gradients.front();
}

std::vector<BufferId> Lowering::losses(std::vector<ProgramNode>& nodes, const Copies& copies,
                                       const std::vector<BufferId>& streams, Beside beside,
                                       Pending& pending) {
  const BufferId store =
      emit_.buffer("head gradients", "gradients", emit_.numbers(head_).gradients());
  gradient_stores_.push_back(store);
  std::vector<BufferId> gradients;
  Copies sums = no_copies(head_);  // of the gradients of the head's weights
  for (const BufferId stream : streams) {
    gradients.push_back(outer_gradient_carry());
    Beside during = stream == streams.back() ? std::exchange(beside, {}) : Beside();
    Instance use = emit_.instance(head_);
    use.weights = copies;
    use.gradients = sums;
    use.symbols[layer_input] = stream;
    use.symbols[gradient_of(layer_input)] = gradients.back();
    if (tiles_ > 1) {
      tiled_loss(nodes, use, store);
      append(nodes, std::move(during));
    } else {
      nodes.push_back(passes_.forward(use, {}));
      if (passes_.ahead()) use.weights = copies;
      nodes.push_back(with_beside(sequence(passes_.backward(use, store)), std::move(during)));
    }
    sums = use.gradients;
  }
  if (tiles_ == 1 || !head_gathers()) pending = {&head_, sums, store};
  return gradients;
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
