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

namespace meshsim {
namespace {

// Consecutive layers that run as one scan (repeats > 1) or once.
struct Run {
  std::vector<const LayerTemplate*> block;
  std::int64_t repeats = 1;
  bool remat = true;
};

void append(std::vector<ProgramNode>& to, std::vector<ProgramNode> from) {
  for (ProgramNode& node : from) to.push_back(std::move(node));
}

// The symbols of `layer` that its backward pass reads and its forward pass writes: residuals.
std::set<std::string> residuals(const LayerTemplate& layer) {
  std::set<std::string> written;
  std::set<std::string> kept;
  for (const Stage& stage : layer.stages) {
    for (const auto* ops : {&stage.forward, &stage.forward_beside}) {
      for (const OpTemplate& op : *ops) written.insert(op.writes.begin(), op.writes.end());
    }
  }
  for (const Stage& stage : layer.stages) {
    for (const auto* ops : {&stage.backward, &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) {
        for (const std::string& read : op.reads) {
          if (written.contains(read)) kept.insert(read);
        }
      }
    }
  }
  return kept;
}

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
  // ---- templates -----------------------------------------------------------------------------

  const LayerTemplate* template_of(int kind) {
    auto& slot = layers_[kind];
    if (!slot)
      slot = std::make_unique<LayerTemplate>(
          layer_template(plan_, plan_.model.kinds[static_cast<std::size_t>(kind)], batch_));
    return slot.get();
  }

  void make_templates() {
    embedding_ = embedding_template(plan_, batch_);
    head_ = head_template(plan_, batch_);
    const bool policy = plan_.config.text("remat_policy") != "none";
    for (const Segment& segment : plan_.layout.segments) {
      Run run;
      for (std::size_t j = 0; j < segment.block; ++j)
        run.block.push_back(template_of(plan_.model.layers[segment.first + j]));
      run.repeats = static_cast<std::int64_t>(segment.repeats);
      // MaxText wraps DeepSeek-V4's unrolled layers in no remat.
      run.remat = policy && (segment.scanned || !plan_.model.is_deepseek4());
      runs_.push_back(std::move(run));
    }
    carry_bytes_ = runs_.front().block.front()->symbol(layer_input).bytes;
  }

  // ---- weights under Prefetch::layer ---------------------------------------------------------

  // The copies of one use of a layer; filled beside the layer before it.
  std::vector<BufferId> no_copies(const LayerTemplate& layer) const {
    return std::vector<BufferId>(layer.weights.size(), no_buffer);
  }

  Beside gather_forward(const LayerTemplate& layer, std::vector<BufferId>& copies) {
    if (!passes_.ahead()) return {};
    return emit_.gather(layer, forward_weights(layer), copies, Pass::forward);
  }

  // A layer whose backward pass comes next.
  struct Next {
    const LayerTemplate* layer;
    bool remat;
  };

  Beside gather_backward(const Next& next, std::vector<BufferId>& copies) {
    if (!passes_.ahead()) return {};
    return emit_.gather(*next.layer, backward_weights(*next.layer, next.remat), copies,
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

  // ---- forward -------------------------------------------------------------------------------

  struct SavedRun {
    BufferId inputs = no_buffer;      // of every block (remat, and all scans)
    std::vector<Instance> instances;  // per layer of the block, with residuals (no remat)
    std::vector<BufferId> stores;     // reduced gradients, per layer of the block
  };

  // One execution of a block, reading the stream `in` and returning it in `out`. `next` is gathered
  // beside the last layer, into `next_copies`.
  std::vector<ProgramNode> forward_block(const Run& run, SavedRun& saved,
                                         std::vector<Instance>& instances,
                                         std::vector<BufferId> copies, BufferId in, BufferId out,
                                         const LayerTemplate* next,
                                         std::vector<BufferId>& next_copies) {
    std::vector<ProgramNode> nodes;
    if (saved.inputs != no_buffer && saved.inputs != in) {
      nodes.push_back(emit_.move("save_input", run.block.front()->layer_kind, Pass::forward,
                                 carry_bytes_ * 2, {in}, {saved.inputs}));
    }
    BufferId stream = in;
    for (std::size_t j = 0; j < run.block.size(); ++j) {
      const bool last = j + 1 == run.block.size();
      Instance& instance = instances[j];
      instance.weights = std::move(copies);
      instance.symbols[layer_input] = stream;
      if (last) {
        instance.symbols[layer_output] = out;
      } else if (run.remat || !instance.symbols.contains(layer_output)) {
        instance.symbols[layer_output] = carry(run.remat ? 1 : run.repeats);
      }
      stream = instance.symbols[layer_output];
      const LayerTemplate* following = last ? next : run.block[j + 1];
      copies = last                   ? next_copies
               : following == nullptr ? std::vector<BufferId>{}
                                      : no_copies(*following);
      Beside beside;
      if (following != nullptr) beside = gather_forward(*following, copies);
      nodes.push_back(passes_.forward(instance, std::move(beside)));
    }
    next_copies = std::move(copies);
    return nodes;
  }

  BufferId carry(std::int64_t times = 1) {
    return emit_.buffer("stream", "carries", carry_bytes_ * times);
  }

  std::vector<Instance> new_instances(const Run& run) {
    std::vector<Instance> instances;
    for (const LayerTemplate* layer : run.block) instances.push_back(emit_.instance(*layer));
    return instances;
  }

  // The instances of a run that keeps its residuals: in a scan, each is stacked over the repeats.
  std::vector<Instance> keeping_instances(const Run& run) {
    std::vector<Instance> instances = new_instances(run);
    if (run.repeats == 1) return instances;
    for (Instance& instance : instances) {
      for (const std::string& symbol : residuals(*instance.layer)) {
        if (symbol == layer_output) continue;
        const Symbol one = instance.layer->symbol(symbol);
        instance.symbols[symbol] = emit_.buffer(instance.layer->layer_kind + " " + symbol,
                                                "residuals", one.bytes * run.repeats);
      }
    }
    return instances;
  }

  // What the backward pass reads of `instances`; all else lasts as long as its block.
  static std::vector<Instance> residuals_of(std::vector<Instance> instances) {
    for (Instance& instance : instances) {
      const std::set<std::string> kept = residuals(*instance.layer);
      std::erase_if(instance.symbols, [&](const auto& entry) {
        const std::string& symbol = entry.first;
        return symbol != layer_input && symbol != layer_output && !kept.contains(symbol);
      });
    }
    return instances;
  }

  void forward_run(std::size_t r, std::vector<ProgramNode>& nodes, std::vector<BufferId>& copies,
                   BufferId& stream) {
    const Run& run = runs_[r];
    SavedRun& saved = saved_[r];
    const LayerTemplate* first = run.block.front();
    const LayerTemplate* following = r + 1 < runs_.size() ? runs_[r + 1].block.front() : &head_;
    // Recomputation starts from a block's input. A scan overwrites it, and keeps one per repeat.
    if (run.repeats > 1) {
      saved.inputs = emit_.buffer("block inputs", "carries", carry_bytes_ * run.repeats);
    } else if (run.remat) {
      saved.inputs = stream;
    }
    if (!run.remat) saved.instances = keeping_instances(run);
    const auto instances = [&] { return run.remat ? new_instances(run) : saved.instances; };
    const auto remember = [&](std::vector<Instance> used) {
      if (!run.remat) saved.instances = residuals_of(std::move(used));
    };
    if (run.repeats > 1) {
      // The body hands its own first layer's copies to the next repeat. One layer alone fills a
      // second set.
      std::vector<BufferId> handed = run.block.size() > 1 ? copies : no_copies(*first);
      std::vector<Instance> used = instances();
      nodes.push_back(
          repeat(run.repeats - 1,
                 sequence(forward_block(run, saved, used, copies, stream, stream, first, handed))));
      remember(std::move(used));
    }
    std::vector<Instance> used = instances();
    std::vector<BufferId> next = no_copies(*following);
    // A scan writes its stream in place; unrolled layers have one each.
    const BufferId out = run.repeats > 1 ? stream : carry();
    append(nodes, forward_block(run, saved, used, copies, stream, out, following, next));
    remember(std::move(used));
    stream = out;
    copies = std::move(next);
  }

  // ---- backward ------------------------------------------------------------------------------

  std::vector<ProgramNode> backward_block(const Run& run, SavedRun& saved,
                                          std::vector<Instance>& instances,
                                          std::vector<BufferId>& copies, BufferId gradient_in,
                                          BufferId gradient_out, Pending& pending, const Next& next,
                                          std::vector<BufferId>& next_copies) {
    std::vector<ProgramNode> nodes;
    if (run.remat) recompute_block(run, saved, instances, copies, nodes);
    if (!run.remat && saved.inputs != no_buffer)
      instances.front().symbols[layer_input] = saved.inputs;
    BufferId gradient = gradient_in;
    for (std::size_t j = run.block.size(); j-- > 0;) {
      Instance& instance = instances[j];
      const Next following = j == 0 ? next : Next{run.block[j - 1], run.remat};
      if (passes_.ahead() && !(run.remat && run.block.size() > 1))
        instance.weights = std::move(copies);
      instance.symbols[std::string("d_") + layer_output] = gradient;
      instance.symbols[std::string("d_") + layer_input] = gradient =
          j == 0 ? gradient_out : gradient_carry();
      copies = j == 0 ? next_copies : no_copies(*following.layer);
      Beside beside;
      // A rematerialised block of several layers gathered its inner layers' weights while it
      // recomputed.
      const bool gathered = run.remat && run.block.size() > 1 && j > 0;
      if (!gathered) beside = gather_backward(following, copies);
      append(beside, reduce_pending(pending));
      ProgramNode main = sequence(passes_.backward(instance, saved.stores[j]));
      nodes.push_back(beside.empty() ? std::move(main)
                                     : parallel(std::move(main), {sequence(std::move(beside))}));
      pending = {instance.layer, instance.gradients, saved.stores[j]};
    }
    next_copies = std::move(copies);
    return nodes;
  }

  // Recomputes the block's layers from its input; under Prefetch::layer each gathers the weights of
  // the next.
  void recompute_block(const Run& run, SavedRun& saved, std::vector<Instance>& instances,
                       std::vector<BufferId>& copies, std::vector<ProgramNode>& nodes) {
    BufferId stream = saved.inputs;
    for (std::size_t j = 0; j < run.block.size(); ++j) {
      const bool last = j + 1 == run.block.size();
      Instance& instance = instances[j];
      instance.symbols[layer_input] = stream;
      if (!last) instance.symbols[layer_output] = stream = carry();
      std::vector<BufferId> following =
          last ? std::vector<BufferId>{} : no_copies(*run.block[j + 1]);
      Beside beside;
      if (!last) beside = gather_backward({run.block[j + 1], true}, following);
      if (passes_.ahead()) instance.weights = std::move(copies);
      std::vector<ProgramNode> again = passes_.recompute(instance, !last);
      ProgramNode main = sequence(std::move(again));
      nodes.push_back(beside.empty() ? std::move(main)
                                     : parallel(std::move(main), {sequence(std::move(beside))}));
      copies = run.block.size() > 1 ? std::move(following) : instance.weights;
    }
  }

  BufferId gradient_carry() {
    return emit_.buffer("stream gradient", "activation_gradients", carry_bytes_);
  }

  void backward_run(std::size_t r, std::vector<ProgramNode>& nodes, std::vector<BufferId>& copies,
                    BufferId& gradient, Pending& pending) {
    const Run& run = runs_[r];
    SavedRun& saved = saved_[r];
    const Next own = first_needed(run);
    const Next following = r > 0 ? first_needed(runs_[r - 1]) : Next{&embedding_, false};
    for (const LayerTemplate* layer : run.block) {
      saved.stores.push_back(emit_.buffer(layer->layer_kind + " gradients", "gradients",
                                          gradient_bytes(*layer) * run.repeats));
    }
    const auto instances = [&] { return run.remat ? new_instances(run) : saved.instances; };
    const auto block = [&](Pending& before, const Next& next, std::vector<BufferId>& next_copies,
                           BufferId out) {
      std::vector<Instance> used = instances();
      return sequence(
          backward_block(run, saved, used, copies, gradient, out, before, next, next_copies));
    };
    if (run.repeats > 1) {
      std::vector<BufferId> handed = no_copies(*own.layer);
      nodes.push_back(block(pending, own, handed, gradient));
      copies = handed;
      if (run.repeats > 2) {
        // The middle repeats take over copies and gradients from themselves: both sets live through
        // the loop.
        std::vector<BufferId> second = no_copies(*own.layer);
        nodes.push_back(repeat(run.repeats - 2, block(pending, own, second, gradient)));
        copies = second;
      }
    }
    std::vector<BufferId> next = no_copies(*following.layer);
    const BufferId out = run.repeats > 1 ? gradient : gradient_carry();
    nodes.push_back(block(pending, following, next, out));
    gradient = out;
    copies = std::move(next);
  }

  // Whose weights a run's backward pass uses first: a rematerialised block begins with its first
  // layer.
  static Next first_needed(const Run& run) {
    return {run.remat ? run.block.front() : run.block.back(), run.remat};
  }

  // ---- the step ------------------------------------------------------------------------------

  std::vector<ProgramNode> microbatch() {
    std::vector<ProgramNode> nodes;
    saved_.assign(runs_.size(), {});
    std::vector<BufferId> copies = no_copies(embedding_);
    append(nodes, gather_forward(embedding_, copies));

    Instance embedding = emit_.instance(embedding_);
    embedding.weights = copies;
    BufferId stream = carry();
    embedding.symbols[layer_output] = stream;
    copies = no_copies(*runs_.front().block.front());
    nodes.push_back(
        passes_.forward(embedding, gather_forward(*runs_.front().block.front(), copies)));
    for (std::size_t r = 0; r < runs_.size(); ++r) forward_run(r, nodes, copies, stream);

    Pending pending;
    BufferId gradient = no_buffer;
    head(nodes, copies, stream, gradient, pending);
    for (std::size_t r = runs_.size(); r-- > 0;) backward_run(r, nodes, copies, gradient, pending);

    Instance back = emit_.instance(embedding_);
    back.weights = copies;
    back.symbols[std::string("d_") + layer_output] = gradient;
    const BufferId store =
        emit_.buffer("embedding gradients", "gradients", own_embedding_gradients());
    ProgramNode main = sequence(passes_.backward(back, store));
    Beside beside = reduce_pending(pending);
    nodes.push_back(beside.empty() ? std::move(main)
                                   : parallel(std::move(main), {sequence(std::move(beside))}));
    append(nodes, reduce_pending({&embedding_, back.gradients, store}));
    gradient_stores_.push_back(store);
    for (const SavedRun& saved : saved_)
      gradient_stores_.insert(gradient_stores_.end(), saved.stores.begin(), saved.stores.end());
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

  // Loss forward and backward. The head's weights stay gathered between the two.
  void head(std::vector<ProgramNode>& nodes, std::vector<BufferId>& copies, BufferId stream,
            BufferId& gradient, Pending& pending) {
    Instance instance = emit_.instance(head_);
    instance.weights = copies;
    instance.symbols[layer_input] = stream;
    nodes.push_back(passes_.forward(instance, {}));
    if (passes_.ahead()) instance.weights = copies;
    gradient = gradient_carry();
    instance.symbols[std::string("d_") + layer_input] = gradient;
    const BufferId store = emit_.buffer("head gradients", "gradients", gradient_bytes(head_));
    const Next next = first_needed(runs_.back());
    copies = no_copies(*next.layer);
    Beside beside = gather_backward(next, copies);
    ProgramNode main = sequence(passes_.backward(instance, store));
    nodes.push_back(beside.empty() ? std::move(main)
                                   : parallel(std::move(main), {sequence(std::move(beside))}));
    pending = {&head_, instance.gradients, store};
    gradient_stores_.push_back(store);
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
  std::vector<SavedRun> saved_;
  std::vector<BufferId> gradient_stores_;
  Bytes carry_bytes_;
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
  if (plan.topology.slices > 1) return "the step time of plans over several slices";
  if (plan.model.config.single_moe_block) return "single MoE blocks";
  if (plan.model.mtp_layers > 0) return "multi-token prediction in the step";
  const std::string policy = plan.config.text("remat_policy");
  if (policy != "full" && policy != "none") return fmt::format("remat_policy={}", policy);
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
  if (config.integer("num_vocab_tiling") > 1) return "vocabulary tiling";
  return {};
}

StepProgram lower(const Plan& plan, Prefetch prefetch) { return Lowering(plan, prefetch).run(); }

}  // namespace meshsim
