#include "program/lower.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "plans/state.hpp"
#include "program/batch_split.hpp"
#include "program/context_parallel.hpp"
#include "program/expert_loads.hpp"
#include "program/expert_stages.hpp"
#include "program/lowering.hpp"
#include "program/moe_block.hpp"
#include "program/outer_templates.hpp"
#include "units/checked.hpp"

namespace meshsim {

Lowering::Lowering(const Plan& plan, Prefetch prefetch, const StepTemplates& templates,
                   const std::vector<std::int64_t>& state)
    : plan_(plan),
      schedule_(pipeline_schedule(plan)),
      emit_(program_, templates),
      passes_(emit_, prefetch),
      templates_(templates),
      state_(state),
      embedding_(templates.embedding()),
      head_(templates.head()),
      mtp_(templates.mtp()) {}

StepProgram Lowering::run() {
  lay_out_runs();
  program_.assumptions = expert_assumptions(plan_);
  std::vector<ProgramNode> step;
  const std::int64_t microbatches = plan_.training.gradient_accumulation;
  std::vector<ProgramNode> body = microbatch();
  if (microbatches > 1) accumulate(body);
  step.push_back(repeat(microbatches, sequence(std::move(body)), RepeatOf::microbatches,
                        exchanges_of_microbatch()));
  optimizer(step);
  program_.root = sequence(std::move(step));
  if (schedule_.stages > 1)
    program_.assumptions.emplace_back(
        "pipeline: the stages pass a microbatch, and one of the batch's inputs and outputs, on "
        "after every iteration; gradients are summed over data parallel devices once a step");
  if (weights_ahead(plan_) > 0)
    program_.assumptions.emplace_back(
        "pipeline: weights are gathered before the iterations as they rest, in the weights' dtype, "
        "and their gradients scattered after them, with nothing beside");
  if (schedule_.stages > 1 && (runs_.size() > 1 || plan_.model.mtp_layers > 0))
    program_.assumptions.emplace_back(
        "pipeline: layers outside of it, and prediction blocks, run on its stages as on more data "
        "parallelism");
  if (number_format(plan_) != NumberFormat::bfloat16) {
    program_.assumptions.push_back(
        plan_.config.text("quantization") +
        ": products of the layers' and experts' weights, forward and backward; attention, the "
        "head "
        "and what devices exchange stay as they are; scales and rounding are fused with what reads "
        "the "
        "operands");
  }
  for (std::string& text : assumptions(context_split(plan_)))
    program_.assumptions.push_back(std::move(text));
  program_.tokens = step_tokens(plan_);
  for_each_leaf(program_.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    const bool model = leaf.pass == Pass::forward || leaf.pass == Pass::backward;
    if (work != nullptr && model) program_.model_flops += work->model_flops * times;
  });
  return std::move(program_);
}

std::int32_t Lowering::exchanges_of_microbatch() const {
  if (!program_.loads) return 0;
  const auto all = static_cast<std::int64_t>(program_.loads->exchanges.size());
  return static_cast<std::int32_t>(all / program_.loads->microbatches);
}

void Lowering::lay_out_runs() {
  tiles_ = plan_.config.integer("num_vocab_tiling");
  nothing_of_mtp_ = nothing_again(mtp_);
  nothing_of_embedding_ = nothing_again(embedding_);
  RematPolicy unwrapped;
  unwrapped.everything = true;
  const RematPolicy policy = remat_policy(plan_);
  std::int64_t moe_layers = 0;
  for (const Segment& segment : plan_.layout.segments) {
    Run run;
    run.repeats = run.weight_sets = static_cast<std::int64_t>(segment.repeats);
    std::size_t block = segment.block;
    run.pipelined = is_pipelined(plan_, segment);
    if (run.pipelined) {
      // A stage runs `stage_layers` of them in an iteration.
      run.repeats = schedule_.iterations();
      run.weight_sets = schedule_.repeats;
      run.idle = schedule_.idle();
      block = static_cast<std::size_t>(schedule_.stage_layers);
    }
    const auto first = plan_.model.layers.begin() + static_cast<std::ptrdiff_t>(segment.first);
    run.kinds.assign(first, first + static_cast<std::ptrdiff_t>(block));
    for (const int kind : run.kinds) {
      const bool outside = schedule_.stages > 1 && !run.pipelined;
      run.block.push_back(outside ? &templates_.outside(kind) : &templates_.kind(kind));
    }
    const bool staggered = std::any_of(run.block.begin(), run.block.end(),
                                       [](const auto* layer) { return is_staggered(*layer); });
    // MaxText wraps DeepSeek-V4's unrolled layers in no remat.
    run.policy = staggered                                        ? batch_split_policy(plan_)
                 : plan_.model.is_deepseek4() && !segment.scanned ? unwrapped
                                                                  : policy;
    for (std::size_t j = 0; j < block; ++j) {
      const LayerTemplate* layer = run.block[j];
      const bool last = j + 1 == block;
      if (layer->exchange.parts > 0) {
        exchange_ = layer->exchange;
        exchanged_.emplace_back(layer->exchange, run.repeats - run.idle);
      }
      run.kept.push_back(kept_symbols(run.policy, *layer));
      // A pipeline keeps the input of every layer, a scan that of a block.
      const bool each = run.policy.everything || run.pipelined;
      if (each && !last) run.kept.back()[layer_output] = Kept::on_device;
      if (staggered && !last) run.kept.back()[layer_output] = Kept::on_host;
      std::set<Name> names;
      for (const auto& [symbol, where] : run.kept.back()) names.insert(symbol);
      run.again.push_back(recomputation(*layer, names, !last));
    }
    place_experts(run, moe_layers);
    runs_.push_back(std::move(run));
  }
  if (mtp_.exchange.parts > 0) {
    moe_layers += plan_.model.mtp_layers;
    exchanged_.emplace_back(mtp_.exchange, plan_.model.mtp_layers);
  }
  exchanges_ = moe_layers * exchange_.parts;
  program_.loads = expert_loads(plan_, exchange_);
  count_slots();
  carry_bytes_ = emit_.numbers(*runs_.front().block.front()).symbol(layer_input);
  outer_carry_bytes_ = carry_bytes_;
  if (schedule_.stages == 1) return;
  carry_bytes_ = emit_.numbers(*pipelined_run().block.front()).symbol(layer_input);
  outer_carry_bytes_ = emit_.numbers(embedding_).symbol(layer_output);
}

void Lowering::place_experts(Run& run, std::int64_t& before) const {
  const std::int64_t first = before;
  for (const LayerTemplate* layer : run.block) {
    const bool routed = layer->exchange.parts > 0;
    const bool loaded = routed && !plan_.routing.balanced();
    run.moe_layers.push_back(loaded ? before : -1);
    if (routed) ++before;
  }
  run.moe_stride = before - first;
  before = first + run.moe_stride * (run.repeats - run.idle);
}

void Lowering::count_slots() {
  const bool places = plan_.model.has_experts() && !plan_.config.boolean("sparse_matmul") &&
                      !experts_are_gathered(plan_);
  if (places && schedule_.stages == 1) {
    const PlacedSlots slots = slots_in_places(plan_);
    program_.routed_slots = slots.routed;
    program_.dropped_slots = slots.dropped;
    return;
  }
  if (program_.loads) {
    program_.routed_slots = program_.loads->slots;
    program_.dropped_slots = program_.loads->dropped;
    return;
  }
  for (const auto& [exchange, layers] : exchanged_) {
    const std::int64_t slots = exchange.tokens * plan_.model.config.num_experts_per_tok;
    const std::int64_t lost =
        exchange.buffer < 0 ? 0 : std::max<std::int64_t>(0, slots - exchange.buffer);
    const std::int64_t all =
        layers * exchange.parts * plan_.training.gradient_accumulation * schedule_.stages;
    const std::int64_t each = all * plan_.mesh.size("expert");
    program_.routed_slots += checked_multiply(slots, each, "slots");
    program_.dropped_slots += checked_multiply(lost, each, "slots");
  }
}

bool Lowering::head_gathers() const {
  return tiles_ > 1 && !plan_.config.boolean("vocab_tiling_ag_once");
}

Beside Lowering::gather_forward(const LayerTemplate& layer, Copies& copies) {
  if (!passes_.ahead() || (&layer == &head_ && head_gathers())) return {};
  return emit_.gather(layer, forward_weights(layer), copies, Pass::forward);
}

Beside Lowering::gather_backward(const Next& next, Copies& copies) {
  if (!passes_.ahead()) return {};
  return emit_.gather(*next.layer, backward_weights(*next.layer, *next.again), copies,
                      Pass::backward);
}

Beside Lowering::reduce_pending(const Pending& pending) {
  if (!passes_.ahead() || pending.layer == nullptr) return {};
  return emit_.reduce(*pending.layer, all_gradients(*pending.layer), pending.gradients,
                      pending.store);
}

ProgramNode Lowering::with_neighbours(ProgramNode main, Beside beside) const {
  if (!splits_batch(plan_)) return with_beside(std::move(main), std::move(beside));
  Beside near;
  Beside far;
  for (ProgramNode& node : beside) {
    const auto* work = std::get_if<Collective>(&node.leaf.work);
    const bool over_dcn =
        node.kind == ProgramNode::Kind::leaf && work != nullptr &&
        std::any_of(plan_.mesh.axes.begin(), plan_.mesh.axes.end(), [&](const MeshAxis& axis) {
          return axis.dcn > 1 && std::find(work->mesh_axes.begin(), work->mesh_axes.end(),
                                           axis.name) != work->mesh_axes.end();
        });
    (over_dcn ? far : near).push_back(std::move(node));
  }
  std::vector<ProgramNode> branches;
  for (Beside* branch : {&near, &far}) {
    if (!branch->empty()) branches.push_back(sequence(std::move(*branch)));
  }
  return parallel(std::move(main), std::move(branches));
}

const LayerTemplate& Lowering::after_layers() const {
  return plan_.model.mtp_layers > 0 ? mtp_ : head_;
}

std::vector<ProgramNode> Lowering::microbatch() {
  std::vector<ProgramNode> nodes;
  stored_.assign(runs_.size(), {});
  begun_ = false;
  Copies copies = no_copies(embedding_);
  append(nodes, gather_forward(embedding_, copies));

  Instance embedding = emit_.instance(embedding_);
  embedding.weights = copies;
  BufferId stream = outer_carry();
  embedding.symbols[layer_output] = stream;
  const LayerTemplate& first = *runs_.front().block.front();
  copies = no_copies(first);
  nodes.push_back(passes_.forward(embedding, gather_forward(first, copies)));
  for (std::size_t r = 0; r < runs_.size(); ++r) forward_run(r, nodes, copies, stream);
  finish_deferred(nodes);

  zero_gradients(nodes);
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

Amount Lowering::own_embedding_gradients() const {
  const TemplateNumbers& numbers = emit_.numbers(embedding_);
  Amount own = numbers.gradients();
  for (std::size_t id = 0; id < embedding_.weights.size(); ++id) {
    for (const Weight& shared : head_.weights) {
      if (shared.name == embedding_.weights[id].name)
        own -= numbers.weight(id, WeightNumber::gradient_shard);
    }
  }
  return own;
}

Amount Lowering::gradient_store_bytes() const {
  Amount sum;
  for (const BufferId id : gradient_stores_) {
    const Buffer& buffer = program_.buffers[static_cast<std::size_t>(id)];
    sum += Amount(buffer.bytes, buffer.terms);
  }
  return sum;
}

void Lowering::accumulate(std::vector<ProgramNode>& nodes) {
  const Amount gradients = gradient_store_bytes();
  const BufferId sum = emit_.buffer("accumulated gradients", "gradients", gradients);
  nodes.push_back(emit_.move("accumulate", "optimizer", Pass::optimizer, gradients * 3,
                             gradient_stores_, {sum}));
  gradient_stores_ = {sum};
}

void Lowering::optimizer(std::vector<ProgramNode>& nodes) {
  const Amount gradients = gradient_store_bytes();
  const auto of_state = [&](StateNumber which) {
    const auto at = static_cast<std::size_t>(which);
    return Amount(emit_.state_numbers() + static_cast<NumberId>(at), Bytes(state_[at]));
  };
  const Name kind = "optimizer";
  if (plan_.config.real("gradient_clipping_threshold") > 0) {
    nodes.push_back(
        emit_.move("gradient_norm", kind, Pass::optimizer, gradients, gradient_stores_, {}));
  }
  const Amount on_host = of_state(StateNumber::host_state);
  ProgramNode update =
      emit_.move("update", kind, Pass::optimizer,
                 gradients + (of_state(StateNumber::state) + on_host) * 2, gradient_stores_, {});
  if (on_host.bytes() == Bytes(0)) {
    nodes.push_back(std::move(update));
    return;
  }
  // Tensor by tensor: while one is updated the next arrives and the last leaves.
  const BufferId passing =
      emit_.buffer("state in passing", "optimizer", of_state(StateNumber::host_largest) * 3);
  nodes.push_back(
      parallel(std::move(update),
               {emit_.host_copy("fetch", kind, Pass::optimizer, on_host, passing, false),
                emit_.host_copy("return", kind, Pass::optimizer, on_host, passing, true)}));
  program_.assumptions.emplace_back(
      "state on the host passes through HBM tensor by tensor, three of the largest at a time, "
      "beside its update");
  if (plan_.training.parameters_on_host)
    program_.assumptions.emplace_back(
        "parameters on the host: a device fetches its shard for every gather, at the gather's "
        "place");
}

const Run& Lowering::pipelined_run() const {
  return *std::find_if(runs_.begin(), runs_.end(), [](const Run& run) { return run.pipelined; });
}

const Amount& Lowering::carry_bytes(const Run& run) const {
  return run.pipelined ? carry_bytes_ : outer_carry_bytes_;
}

BufferId Lowering::carry(const Run& run) {
  return emit_.buffer("stream", "carries", carry_bytes(run));
}

BufferId Lowering::gradient_carry(const Run& run) {
  return emit_.buffer("stream gradient", "activation_gradients", carry_bytes(run));
}

BufferId Lowering::outer_carry() { return emit_.buffer("stream", "carries", outer_carry_bytes_); }

BufferId Lowering::outer_gradient_carry() {
  return emit_.buffer("stream gradient", "activation_gradients", outer_carry_bytes_);
}

ProgramNode with_beside(ProgramNode main, Beside beside) {
  if (beside.empty()) return main;
  return parallel(std::move(main), sequence(std::move(beside)));
}

Name gradient_of(const char* symbol) { return std::string("d_") + symbol; }

Copies no_copies(const LayerTemplate& layer) { return Copies(layer.weights.size(), no_buffer); }

Recomputation nothing_again(const LayerTemplate& layer) {
  Recomputation nothing;
  for (const Stage& stage : layer.stages)
    nothing.emplace_back(stage.forward.size() + stage.forward_beside.size(), false);
  return nothing;
}

std::string_view name(Prefetch prefetch) {
  switch (prefetch) {
    case Prefetch::layer: return "layer";
    case Prefetch::kernel: return "kernel";
    case Prefetch::use: return "use";
  }
  return "";
}

std::optional<Prefetch> less_prefetch(const Plan& plan, Prefetch prefetch) {
  if (splits_batch(plan)) return {};
  if (prefetch == Prefetch::layer) return Prefetch::kernel;
  if (prefetch == Prefetch::kernel) return Prefetch::use;
  return {};
}

Prefetch furthest_prefetch(const Plan& plan) {
  if (splits_batch(plan)) return Prefetch::layer;  // its own doing, not the compiler's
  return plan.config.boolean("scan_layers") ? Prefetch::kernel : Prefetch::layer;
}

std::int64_t step_tokens(const Plan& plan) {
  return plan.training.global_batch * plan.training.sequence_length / plan.devices();
}

StepProgram lower(const Plan& plan, Prefetch prefetch, const StepTemplates& templates,
                  const std::vector<std::int64_t>& state) {
  if (splits_batch(plan)) prefetch = Prefetch::layer;
  return plan.moe_block ? lower_moe_block(plan, prefetch, templates)
                        : Lowering(plan, prefetch, templates, state).run();
}

StepProgram lower(const Plan& plan, Prefetch prefetch) {
  return lower(plan, prefetch, step_templates(plan), state_numbers(training_state(plan)));
}

}  // namespace meshsim
