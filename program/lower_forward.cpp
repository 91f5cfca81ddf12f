#include "program/lowering.hpp"

#include <utility>

namespace meshsim {

Stored Lowering::store(const Run& run) {
  Stored stored;
  if (run.policy.input == Kept::on_host) {
    program_.host += carry_bytes(run) * run.repeats;
  } else if (run.repeats > 1) {
    stored.inputs = emit_.buffer("block inputs", "carries", carry_bytes(run) * run.repeats);
  }
  for (std::size_t j = 0; j < run.block.size(); ++j) {
    auto& symbols = stored.symbols.emplace_back();
    for (const auto& [symbol, where] : run.kept[j]) {
      const Amount bytes = emit_.numbers(*run.block[j]).symbol(symbol) * run.repeats;
      if (where == Kept::on_host) {
        program_.host += bytes;
      } else {
        symbols[symbol] = emit_.buffer(run.block[j]->layer_kind + " " + symbol, "residuals", bytes);
      }
    }
  }
  return stored;
}

std::int32_t Lowering::exchange_stride(const Run& run) const {
  return program_.loads ? static_cast<std::int32_t>(run.moe_stride * exchange_.parts) : 0;
}

Instance Lowering::instance(const Run& run, const Stored& stored, std::size_t j) {
  Instance use = emit_.instance(*run.block[j]);
  use.symbols.insert(stored.symbols[j].begin(), stored.symbols[j].end());
  if (run.moe_layers[j] >= 0) use.moe_layer = run.moe_layers[j] + stored.repeat * run.moe_stride;
  return use;
}

Beside Lowering::host_copies(const Run& run, std::size_t j, Instance& use, bool to_host) {
  Beside copies;
  for (const auto& [symbol, where] : run.kept[j]) {
    if (where != Kept::on_host) continue;
    copies.push_back(emit_.host_copy(to_host ? "offload" : "fetch", use.layer->layer_kind,
                                     to_host ? Pass::forward : Pass::backward,
                                     emit_.numbers(*use.layer).symbol(symbol),
                                     emit_.symbol(use, symbol), to_host));
  }
  return copies;
}

std::vector<ProgramNode> Lowering::forward_block(const Run& run, const Stored& stored,
                                                 Copies copies, BufferId in, BufferId out,
                                                 const LayerTemplate& next, Copies& next_copies) {
  std::vector<ProgramNode> nodes;
  const Name kind = run.block.front()->layer_kind;
  if (stored.inputs != no_buffer) {
    nodes.push_back(
        emit_.move("save_input", kind, Pass::forward, carry_bytes(run) * 2, {in}, {stored.inputs}));
  }
  BufferId stream = in;
  for (std::size_t j = 0; j < run.block.size(); ++j) {
    const bool last = j + 1 == run.block.size();
    Instance use = instance(run, stored, j);
    use.weights = std::move(copies);
    use.symbols[layer_input] = stream;
    if (last) {
      use.symbols[layer_output] = out;
    } else if (!use.symbols.contains(layer_output)) {
      use.symbols[layer_output] = carry(run);
    }
    stream = use.symbols[layer_output];
    const LayerTemplate& following = last ? next : *run.block[j + 1];
    copies = last ? next_copies : no_copies(following);
    Beside beside = gather_forward(following, copies);
    if (j == 0 && run.policy.input == Kept::on_host) {
      beside.push_back(emit_.host_copy("offload", kind, Pass::forward, carry_bytes(run), in, true));
    }
    append(beside, host_copies(run, j, use, true));
    if (use.layer->deferred == 0) finish_deferred(nodes);
    hand_on(handed_forward_, Pass::forward, use);
    nodes.push_back(passes_.forward(use, std::move(beside), left_ ? &*left_ : nullptr));
    hand_on(handed_forward_, Pass::forward, use);
    left_.reset();
    if (use.layer->deferred > 0) left_ = use;
  }
  next_copies = std::move(copies);
  return nodes;
}

void Lowering::hand_on(Handed& handed, Pass pass, Instance& use) {
  const LayerTemplate& layer = *use.layer;
  std::map<Name, BufferId>& known = handed[&layer];
  for (const auto& [symbol, buffer] : known) use.symbols.try_emplace(symbol, buffer);
  for (std::size_t s = layer.stages.size() - layer.deferred; s < layer.stages.size(); ++s) {
    const Stage& stage = layer.stages[s];
    const bool there = pass == Pass::forward;
    for (const auto* ops : {there ? &stage.forward : &stage.backward,
                            there ? &stage.forward_beside : &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) {
        for (const auto* symbols : {&op.reads, &op.writes}) {
          for (const Name symbol : *symbols) {
            const auto at = use.symbols.find(symbol);
            if (without_chunk(symbol) != symbol && at != use.symbols.end())
              known.try_emplace(symbol, at->second);
          }
        }
      }
    }
  }
}

void Lowering::finish_deferred(std::vector<ProgramNode>& nodes) {
  if (left_) append(nodes, passes_.deferred(*left_));
  left_.reset();
}

void Lowering::forward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                           BufferId& stream) {
  const Run& run = runs_[r];
  stored_[r] = store(run);
  const LayerTemplate& following =
      r + 1 < runs_.size() ? *runs_[r + 1].block.front() : after_layers();
  // The batch's inputs leave it and its outputs come back in place.
  const BufferId batch = stream;
  if (run.pipelined) gather_ahead(nodes, Pass::forward);
  if (run.pipelined) stream = enter_pipeline(nodes, Pass::forward, batch);
  if (run.repeats > 1) {
    // The body hands its own first layer's copies to the next repeat. One layer alone fills a
    // second set.
    const LayerTemplate& first = *run.block.front();
    Copies handed = run.block.size() > 1 ? copies : no_copies(first);
    const auto block = [&] {
      return iteration(run, forward_block(run, stored_[r], copies, stream, stream, first, handed),
                       Pass::forward, stream, batch);
    };
    // What is left to the first repeat is of another kind of layer, or nothing.
    const bool defers = run.block.back()->deferred > 0;
    if (defers) {
      nodes.push_back(block());
      stored_[r].repeat = 1;
    }
    const std::int64_t left = run.repeats - run.idle - (defers ? 2 : 1);
    if (left > 0 || !defers) {
      append(nodes, iterations(run, block(), left, exchange_stride(run)));
    }
    stored_[r].repeat = run.repeats - 1;
  }
  Copies next = no_copies(following);
  // A scan writes its stream in place; unrolled layers have one each.
  const BufferId out = run.repeats > 1 ? stream : carry(run);
  nodes.push_back(iteration(run,
                            forward_block(run, stored_[r], copies, stream, out, following, next),
                            Pass::forward, out, batch));
  if (run.repeats == 1) stored_[r].single_input = stream;
  stream = run.pipelined ? batch : out;
  copies = std::move(next);
}

}  // namespace meshsim
