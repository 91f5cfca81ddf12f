#include "program/lower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "plans/state.hpp"
#include "program/layer_passes.hpp"
#include "program/outer_templates.hpp"
#include "program/remat_policy.hpp"

namespace meshsim {
namespace {

// Consecutive layers that run as one scan (repeats > 1) or once, and what of them is kept for the
// backward pass.
struct Run {
  std::vector<const LayerTemplate*> block;
  std::int64_t repeats = 1;
  RematPolicy policy;
  std::vector<std::map<std::string, Kept>> kept;  // per layer of the block
  std::vector<Recomputation> again;               // per layer of the block
};

void append(std::vector<ProgramNode>& to, std::vector<ProgramNode> from) {
  for (ProgramNode& node : from) to.push_back(std::move(node));
}

// `main` with the nodes of `beside`, one after the other, beside it.
ProgramNode with_beside(ProgramNode main, Beside beside) {
  if (beside.empty()) return main;
  return parallel(std::move(main), {sequence(std::move(beside))});
}

std::string gradient_of(const char* symbol) { return std::string("d_") + symbol; }

class Lowering {
 public:
  Lowering(const Plan& plan, Prefetch prefetch)
      : plan_(plan), batch_(local_batch(plan)), emit_(program_), passes_(emit_, prefetch) {}

  StepProgram run() {
    make_templates();
    std::vector<ProgramNode> step;
    const std::int64_t microbatches = plan_.training.gradient_accumulation;
    std::vector<ProgramNode> body = microbatch();
    if (microbatches > 1) accumulate(body);
    step.push_back(repeat(microbatches, sequence(std::move(body))));
    optimizer(step);
    program_.root = sequence(std::move(step));
    program_.tokens = batch_.tokens() * microbatches;
    for_each_leaf(program_.root, [&](const Leaf& leaf, std::int64_t times) {
      const auto* work = std::get_if<Compute>(&leaf.work);
      const bool model = leaf.pass == Pass::forward || leaf.pass == Pass::backward;
      if (work != nullptr && model) program_.model_flops += work->model_flops * times;
    });
    return std::move(program_);
  }

 private:
  using Copies = std::vector<BufferId>;  // of the weights of one use of a layer

  // ---- templates
  // ---------------------------------------------------------------------------------

  const LayerTemplate* template_of(int kind) {
    auto& slot = layers_[kind];
    if (!slot)
      slot = std::make_unique<LayerTemplate>(
          layer_template(plan_, plan_.model.kinds[static_cast<std::size_t>(kind)], batch_));
    return slot.get();
  }

  void make_templates() {
    embedding_ = embedding_template(plan_, batch_);
    tiles_ = plan_.config.integer("num_vocab_tiling");
    head_ = head_template(plan_, {1, batch_.tokens() / tiles_});
    if (plan_.model.mtp_layers > 0) mtp_ = mtp_template(plan_, batch_);
    nothing_of_mtp_ = nothing_again(mtp_);
    nothing_of_embedding_ = nothing_again(embedding_);
    RematPolicy unwrapped;
    unwrapped.everything = true;
    const RematPolicy policy = remat_policy(plan_);
    for (const Segment& segment : plan_.layout.segments) {
      Run run;
      run.repeats = static_cast<std::int64_t>(segment.repeats);
      // MaxText wraps DeepSeek-V4's unrolled layers in no remat.
      run.policy = plan_.model.is_deepseek4() && !segment.scanned ? unwrapped : policy;
      for (std::size_t j = 0; j < segment.block; ++j) {
        const LayerTemplate* layer = template_of(plan_.model.layers[segment.first + j]);
        const bool last = j + 1 == segment.block;
        run.block.push_back(layer);
        run.kept.push_back(kept_symbols(run.policy, *layer));
        if (run.policy.everything && !last) run.kept.back()[layer_output] = Kept::on_device;
        std::set<std::string> names;
        for (const auto& [symbol, where] : run.kept.back()) names.insert(symbol);
        run.again.push_back(recomputation(*layer, names, !last));
      }
      runs_.push_back(std::move(run));
    }
    carry_bytes_ = runs_.front().block.front()->symbol(layer_input).bytes;
  }

  // A layer that keeps everything repeats nothing.
  static Recomputation nothing_again(const LayerTemplate& layer) {
    Recomputation nothing;
    for (const Stage& stage : layer.stages)
      nothing.emplace_back(stage.forward.size() + stage.forward_beside.size(), false);
    return nothing;
  }

  // ---- weights and gradients under Prefetch::layer
  // ------------------------------------------------

  Copies no_copies(const LayerTemplate& layer) const {
    return Copies(layer.weights.size(), no_buffer);
  }

  // A tiled head gathers its weights itself, tile by tile, unless it is told to do so once.
  bool head_gathers() const { return tiles_ > 1 && !plan_.config.boolean("vocab_tiling_ag_once"); }

  Beside gather_forward(const LayerTemplate& layer, Copies& copies) {
    if (!passes_.ahead() || (&layer == &head_ && head_gathers())) return {};
    return emit_.gather(layer, forward_weights(layer), copies, Pass::forward);
  }

  // A layer whose backward pass comes next, and what it repeats first.
  struct Next {
    const LayerTemplate* layer;
    const Recomputation* again;
  };

  Beside gather_backward(const Next& next, Copies& copies) {
    if (!passes_.ahead()) return {};
    return emit_.gather(*next.layer, backward_weights(*next.layer, *next.again), copies,
                        Pass::backward);
  }

  // Gradients of the last backward layer, which are reduced beside the next.
  struct Pending {
    const LayerTemplate* layer = nullptr;
    std::vector<BufferId> gradients;
    BufferId store = no_buffer;
  };

  Beside reduce_pending(const Pending& pending) {
    if (!passes_.ahead() || pending.layer == nullptr) return {};
    return emit_.reduce(*pending.layer, all_gradients(*pending.layer), pending.gradients,
                        pending.store);
  }

  const LayerTemplate& after_layers() const { return plan_.model.mtp_layers > 0 ? mtp_ : head_; }

  // ---- what a run keeps
  // ----------------------------------------------------------------------------

  struct Stored {
    BufferId inputs = no_buffer;  // of a scan, which overwrites its stream; unless on the host
    std::vector<std::map<std::string, BufferId>>
        symbols;                      // kept on the device, per layer of the block
    std::vector<BufferId> gradients;  // reduced, per layer of the block
  };

  // In a scan, what is kept is stacked over the repeats. Activations on the host are counted there.
  Stored store(const Run& run) {
    Stored stored;
    if (run.policy.input == Kept::on_host) {
      program_.host += carry_bytes_ * run.repeats;
    } else if (run.repeats > 1) {
      stored.inputs = emit_.buffer("block inputs", "carries", carry_bytes_ * run.repeats);
    }
    for (std::size_t j = 0; j < run.block.size(); ++j) {
      auto& symbols = stored.symbols.emplace_back();
      for (const auto& [symbol, where] : run.kept[j]) {
        const Bytes bytes = run.block[j]->symbol(symbol).bytes * run.repeats;
        if (where == Kept::on_host) {
          program_.host += bytes;
        } else {
          symbols[symbol] =
              emit_.buffer(run.block[j]->layer_kind + " " + symbol, "residuals", bytes);
        }
      }
    }
    return stored;
  }

  // One use of layer `j` of the run: what is kept has its place already.
  Instance instance(const Run& run, const Stored& stored, std::size_t j) {
    Instance use = emit_.instance(*run.block[j]);
    use.symbols.insert(stored.symbols[j].begin(), stored.symbols[j].end());
    return use;
  }

  // The copies of a layer's kept symbols to or from the host. They run beside the layer itself: in
  // the steady state of a scan that costs what copying beside its neighbour does.
  Beside host_copies(const Run& run, std::size_t j, Instance& use, bool to_host) {
    Beside copies;
    for (const auto& [symbol, where] : run.kept[j]) {
      if (where != Kept::on_host) continue;
      copies.push_back(emit_.host_copy(to_host ? "offload" : "fetch", use.layer->layer_kind,
                                       to_host ? Pass::forward : Pass::backward,
                                       use.layer->symbol(symbol).bytes, emit_.symbol(use, symbol),
                                       to_host));
    }
    return copies;
  }

  BufferId carry() { return emit_.buffer("stream", "carries", carry_bytes_); }
  BufferId gradient_carry() {
    return emit_.buffer("stream gradient", "activation_gradients", carry_bytes_);
  }

  // ---- forward
  // ---------------------------------------------------------------------------------------

  // One execution of a block, reading the stream `in` and returning it in `out`. `next` is gathered
  // beside the last layer, into `next_copies`.
  std::vector<ProgramNode> forward_block(const Run& run, const Stored& stored, Copies copies,
                                         BufferId in, BufferId out, const LayerTemplate& next,
                                         Copies& next_copies) {
    std::vector<ProgramNode> nodes;
    const std::string& kind = run.block.front()->layer_kind;
    if (stored.inputs != no_buffer) {
      nodes.push_back(
          emit_.move("save_input", kind, Pass::forward, carry_bytes_ * 2, {in}, {stored.inputs}));
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
        use.symbols[layer_output] = carry();
      }
      stream = use.symbols[layer_output];
      const LayerTemplate& following = last ? next : *run.block[j + 1];
      copies = last ? next_copies : no_copies(following);
      Beside beside = gather_forward(following, copies);
      if (j == 0 && run.policy.input == Kept::on_host) {
        beside.push_back(emit_.host_copy("offload", kind, Pass::forward, carry_bytes_, in, true));
      }
      append(beside, host_copies(run, j, use, true));
      nodes.push_back(passes_.forward(use, std::move(beside)));
    }
    next_copies = std::move(copies);
    return nodes;
  }

  void forward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                   BufferId& stream) {
    const Run& run = runs_[r];
    stored_[r] = store(run);
    const LayerTemplate& following =
        r + 1 < runs_.size() ? *runs_[r + 1].block.front() : after_layers();
    if (run.repeats > 1) {
      // The body hands its own first layer's copies to the next repeat. One layer alone fills a
      // second set.
      const LayerTemplate& first = *run.block.front();
      Copies handed = run.block.size() > 1 ? copies : no_copies(first);
      nodes.push_back(
          repeat(run.repeats - 1,
                 sequence(forward_block(run, stored_[r], copies, stream, stream, first, handed))));
    }
    Copies next = no_copies(following);
    // A scan writes its stream in place; unrolled layers have one each.
    const BufferId out = run.repeats > 1 ? stream : carry();
    append(nodes, forward_block(run, stored_[r], copies, stream, out, following, next));
    if (run.repeats == 1) single_inputs_[r] = stream;
    stream = out;
    copies = std::move(next);
  }

  // ---- backward
  // --------------------------------------------------------------------------------------

  // The input of a block in its backward pass: where it was kept, or a buffer that it returns to.
  BufferId block_input(std::size_t r, Beside& beside) {
    const Run& run = runs_[r];
    if (stored_[r].inputs != no_buffer) return stored_[r].inputs;
    if (run.policy.input == Kept::on_device) return single_inputs_[r];
    const BufferId fetched = carry();
    beside.push_back(emit_.host_copy("fetch", run.block.front()->layer_kind, Pass::backward,
                                     carry_bytes_, fetched, false));
    return fetched;
  }

  // Whether the block's first layer runs again before its last goes backward: then its weights come
  // first.
  static bool recomputes(const Run& run) { return !run.policy.everything; }

  Next first_needed(const Run& run) const {
    const std::size_t j = recomputes(run) ? 0 : run.block.size() - 1;
    return {run.block[j], &run.again[j]};
  }

  std::vector<ProgramNode> backward_block(std::size_t r, Copies& copies, BufferId gradient_in,
                                          BufferId gradient_out, Pending& pending, const Next& next,
                                          Copies& next_copies) {
    const Run& run = runs_[r];
    const std::size_t layers = run.block.size();
    std::vector<ProgramNode> nodes;
    std::vector<Instance> uses;
    for (std::size_t j = 0; j < layers; ++j) uses.push_back(instance(run, stored_[r], j));
    // A block of several layers holds its weights from the recomputation on.
    const bool held = recomputes(run) && layers > 1;
    recompute_block(r, uses, copies, nodes);
    BufferId gradient = gradient_in;
    for (std::size_t j = layers; j-- > 0;) {
      Instance& use = uses[j];
      const Next following = j == 0 ? next : Next{run.block[j - 1], &run.again[j - 1]};
      if (passes_.ahead() && !held) use.weights = std::move(copies);
      use.symbols[gradient_of(layer_output)] = gradient;
      use.symbols[gradient_of(layer_input)] = gradient = j == 0 ? gradient_out : gradient_carry();
      copies = j == 0 ? next_copies : no_copies(*following.layer);
      Beside beside;
      if (!held || j == 0) beside = gather_backward(following, copies);
      append(beside, reduce_pending(pending));
      nodes.push_back(
          with_beside(sequence(passes_.backward(use, stored_[r].gradients[j])), std::move(beside)));
      pending = {use.layer, use.gradients, stored_[r].gradients[j]};
    }
    next_copies = std::move(copies);
    return nodes;
  }

  // Brings back what is kept on the host and recomputes the rest, layer by layer from the block's
  // input; under Prefetch::layer each layer gathers the weights of the next.
  void recompute_block(std::size_t r, std::vector<Instance>& uses, Copies& copies,
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
        if (!use.symbols.contains(layer_output)) use.symbols[layer_output] = carry();
        stream = use.symbols[layer_output];
      }
      if (!recomputes(run)) continue;
      Copies following = last ? Copies{} : no_copies(*run.block[j + 1]);
      if (!last) append(beside, gather_backward({run.block[j + 1], &run.again[j + 1]}, following));
      append(beside, host_copies(run, j, use, false));
      if (passes_.ahead()) use.weights = std::move(copies);
      nodes.push_back(
          with_beside(sequence(passes_.recompute(use, run.again[j])), std::move(beside)));
      copies = layers > 1 ? std::move(following) : use.weights;
    }
  }

  void backward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                    BufferId& gradient, Pending& pending) {
    const Run& run = runs_[r];
    const Next own = first_needed(run);
    const Next following =
        r > 0 ? first_needed(runs_[r - 1]) : Next{&embedding_, &nothing_of_embedding_};
    for (const LayerTemplate* layer : run.block) {
      stored_[r].gradients.push_back(emit_.buffer(layer->layer_kind + " gradients", "gradients",
                                                  gradient_bytes(*layer) * run.repeats));
    }
    const auto block = [&](const Next& next, Copies& next_copies, BufferId out) {
      return sequence(backward_block(r, copies, gradient, out, pending, next, next_copies));
    };
    if (run.repeats > 1) {
      Copies handed = no_copies(*own.layer);
      nodes.push_back(block(own, handed, gradient));
      copies = handed;
      if (run.repeats > 2) {
        // The middle repeats take over copies and gradients from themselves: both sets live through
        // the loop.
        Copies second = no_copies(*own.layer);
        nodes.push_back(repeat(run.repeats - 2, block(own, second, gradient)));
        copies = second;
      }
    }
    Copies next = no_copies(*following.layer);
    const BufferId out = run.repeats > 1 ? gradient : gradient_carry();
    nodes.push_back(block(following, next, out));
    gradient = out;
    copies = std::move(next);
  }

  // ---- the step
  // ----------------------------------------------------------------------------------------

  std::vector<ProgramNode> microbatch() {
    std::vector<ProgramNode> nodes;
    stored_.assign(runs_.size(), {});
    single_inputs_.assign(runs_.size(), no_buffer);
    Copies copies = no_copies(embedding_);
    append(nodes, gather_forward(embedding_, copies));

    Instance embedding = emit_.instance(embedding_);
    embedding.weights = copies;
    BufferId stream = carry();
    embedding.symbols[layer_output] = stream;
    const LayerTemplate& first = *runs_.front().block.front();
    copies = no_copies(first);
    nodes.push_back(passes_.forward(embedding, gather_forward(first, copies)));
    for (std::size_t r = 0; r < runs_.size(); ++r) forward_run(r, nodes, copies, stream);

    Pending pending;
    BufferId gradient = predictions(nodes, copies, stream, pending);
    for (std::size_t r = runs_.size(); r-- > 0;) backward_run(r, nodes, copies, gradient, pending);

    Instance back = emit_.instance(embedding_);
    back.weights = copies;
    back.symbols[gradient_of(layer_output)] = gradient;
    const BufferId store =
        emit_.buffer("embedding gradients", "gradients", own_embedding_gradients());
    nodes.push_back(with_beside(sequence(passes_.backward(back, store)), reduce_pending(pending)));
    append(nodes, reduce_pending({&embedding_, back.gradients, store}));
    gradient_stores_.push_back(store);
    for (const Stored& stored : stored_) {
      gradient_stores_.insert(gradient_stores_.end(), stored.gradients.begin(),
                              stored.gradients.end());
    }
    return nodes;
  }

  // A table that the head shares has its gradients in the head's store: both uses add to it.
  Bytes own_embedding_gradients() const {
    Bytes own = gradient_bytes(embedding_);
    for (const Weight& weight : embedding_.weights) {
      for (const Weight& shared : head_.weights) {
        if (shared.name == weight.name) own -= weight.gradient_shard;
      }
    }
    return own;
  }

  // The multi-token-prediction blocks forward, every loss forward and backward, the blocks
  // backward. Returns the gradient of the layers' output; `copies` are then those of the last
  // layer's backward pass.
  BufferId predictions(std::vector<ProgramNode>& nodes, Copies& copies, BufferId stream,
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
      nodes.push_back(passes_.forward(block, gather_forward(following, copies)));
    }
    const Next first = depth > 0 ? Next{&mtp_, &nothing_of_mtp_} : first_needed(runs_.back());
    Copies next_copies = no_copies(*first.layer);
    const std::vector<BufferId> gradients =
        losses(nodes, copies, streams, gather_backward(first, next_copies), pending);
    copies = std::move(next_copies);
    for (std::size_t d = depth; d-- > 0;) {
      Instance& block = blocks[d];
      const Next following = d > 0 ? Next{&mtp_, &nothing_of_mtp_} : first_needed(runs_.back());
      block.weights = std::move(copies);
      block.symbols[gradient_of(layer_output)] = gradients[d + 1];
      copies = no_copies(*following.layer);
      Beside beside = gather_backward(following, copies);
      append(beside, reduce_pending(pending));
      const BufferId store = emit_.buffer("mtp gradients", "gradients",
                                          gradient_bytes(mtp_) - shared_table_gradient(mtp_));
      nodes.push_back(with_beside(sequence(passes_.backward(block, store)), std::move(beside)));
      const BufferId through = emit_.symbol(block, gradient_of(layer_input));
      nodes.push_back(emit_.move("add_gradient", mtp_.layer_kind, Pass::backward, carry_bytes_ * 3,
                                 {through, gradients[d]}, {gradients[d]}));
      pending = {&mtp_, block.gradients, store};
      gradient_stores_.push_back(store);
    }
    return gradients.front();
  }

  // The loss of every stream, forward and backward. Under Prefetch::layer the head's weights stay
  // gathered throughout; their gradients are one sum. `beside` runs with the last backward pass.
  std::vector<BufferId> losses(std::vector<ProgramNode>& nodes, const Copies& copies,
                               const std::vector<BufferId>& streams, Beside beside,
                               Pending& pending) {
    const BufferId store = emit_.buffer("head gradients", "gradients", gradient_bytes(head_));
    gradient_stores_.push_back(store);
    std::vector<BufferId> gradients;
    Copies sums = no_copies(head_);  // of the gradients of the head's weights
    for (const BufferId stream : streams) {
      gradients.push_back(gradient_carry());
      Instance use = emit_.instance(head_);
      use.weights = copies;
      use.gradients = sums;
      use.symbols[layer_input] = stream;
      use.symbols[gradient_of(layer_input)] = gradients.back();
      if (tiles_ > 1) {
        tiled_loss(nodes, use, store);
        if (stream == streams.back()) append(nodes, std::move(beside));
      } else {
        nodes.push_back(passes_.forward(use, {}));
        if (passes_.ahead()) use.weights = copies;
        ProgramNode back = sequence(passes_.backward(use, store));
        nodes.push_back(stream == streams.back() ? with_beside(std::move(back), std::move(beside))
                                                 : std::move(back));
      }
      sums = use.gradients;
    }
    if (tiles_ == 1 || !head_gathers()) pending = {&head_, sums, store};
    return gradients;
  }

  // Vocabulary tiling: the loss of a share of the tokens at a time; the backward pass computes its
  // logits again.
  void tiled_loss(std::vector<ProgramNode>& nodes, Instance& use, BufferId store) {
    const bool once = passes_.ahead() && !head_gathers();
    LayerPasses each(emit_, Prefetch::kernel);
    LayerPasses& passes = once ? passes_ : each;
    const Copies held = use.weights;
    Instance forward = use;
    if (!once) forward.weights = use.weights = no_copies(head_);
    nodes.push_back(repeat(tiles_, passes.forward(forward, {})));
    std::vector<ProgramNode> body = passes.recompute(use, recomputation(head_, {}, false));
    if (once) use.weights = held;
    append(body, passes.backward(use, store));
    nodes.push_back(repeat(tiles_, sequence(std::move(body))));
  }

  // The part of `layer`'s gradients that the head's or the embedding's store holds: of the token
  // table.
  Bytes shared_table_gradient(const LayerTemplate& layer) const {
    for (const Weight& weight : layer.weights) {
      if (weight.name == "token_embedder/embedding") return weight.gradient_shard;
    }
    return {};
  }

  Bytes gradient_store_bytes() const {
    Bytes sum;
    for (const BufferId id : gradient_stores_)
      sum += program_.buffers[static_cast<std::size_t>(id)].bytes;
    return sum;
  }

  // Adds the gradients of a microbatch to those of the ones before, which live through all of them.
  void accumulate(std::vector<ProgramNode>& nodes) {
    const Bytes gradients = gradient_store_bytes();
    const BufferId sum = emit_.buffer("accumulated gradients", "gradients", gradients);
    nodes.push_back(emit_.move("accumulate", "optimizer", Pass::optimizer, gradients * 3,
                               gradient_stores_, {sum}));
    gradient_stores_ = {sum};
  }

  // The global norm of the gradients, then the update: every byte of gradients and state once.
  void optimizer(std::vector<ProgramNode>& nodes) {
    const Bytes gradients = gradient_store_bytes();
    const TrainingState state = training_state(plan_);
    program_.arguments = state.arguments();
    const std::string kind = "optimizer";
    if (plan_.config.real("gradient_clipping_threshold") > 0) {
      nodes.push_back(
          emit_.move("gradient_norm", kind, Pass::optimizer, gradients, gradient_stores_, {}));
    }
    nodes.push_back(emit_.move("update", kind, Pass::optimizer, gradients + state.state() * 2,
                               gradient_stores_, {}));
  }

  const Plan& plan_;
  LocalBatch batch_;
  StepProgram program_;
  Emitter emit_;
  LayerPasses passes_;

  std::map<int, std::unique_ptr<LayerTemplate>> layers_;
  LayerTemplate embedding_;
  LayerTemplate head_;
  std::vector<Run> runs_;
  std::vector<Stored> stored_;           // per run
  std::vector<BufferId> single_inputs_;  // per run of one repeat: its input stream
  std::vector<BufferId> gradient_stores_;
  LayerTemplate mtp_;  // without stages where there is no multi-token prediction
  Recomputation nothing_of_mtp_;
  Recomputation nothing_of_embedding_;
  Bytes carry_bytes_;
  std::int64_t tiles_ = 1;  // of the loss
};

}  // namespace

std::string_view name(Prefetch prefetch) {
  return prefetch == Prefetch::layer ? "layer" : "kernel";
}

std::optional<std::string> not_lowered(const Plan& plan) {
  for (const MeshAxis& axis : plan.mesh.axes) {
    const bool lowered = axis.name == "data" || axis.name == "fsdp" ||
                         axis.name == "fsdp_transpose" || axis.name == "expert";
    if (axis.size() > 1 && !lowered)
      return fmt::format("the step time of plans with a {} degree", axis.name);
  }
  if (plan.model.config.single_moe_block) return "single MoE blocks";
  if (plan.model.mtp_layers > 0 && plan.model.hyper_connections)
    return "multi-token prediction with hyper-connections";
  if (std::optional<std::string> policy = not_rematted(plan)) return policy;
  const ResolvedConfig& config = plan.config;
  if (plan.model.has_experts() && !config.boolean("sparse_matmul")) {
    if (config.real("capacity_factor") > 0) return "the dense path with capacity";
    if (plan.mesh.size("expert") > 1) return "the dense path with expert parallelism";
  }
  if (plan.expert_axes == ExpertAxes::fsdp_2d && plan.mesh.size("expert") > 1)
    return "two-dimensional sharding of experts with expert parallelism";
  if (plan.expert_axes == ExpertAxes::batch_split) return "the batch-split schedule";
  if (config.integer("num_moe_token_chunks") > 1 || config.integer("num_moe_emb_chunks") > 0)
    return "chunked expert exchange";
  if (local_batch(plan).tokens() % config.integer("num_vocab_tiling") != 0)
    return "vocabulary tiling that splits a device's tokens unevenly";
  return {};
}

StepProgram lower(const Plan& plan, Prefetch prefetch) { return Lowering(plan, prefetch).run(); }

}  // namespace meshsim
