#include "program/moe_block.hpp"

#include "program/batch_split.hpp"
#include "program/expert_loads.hpp"
#include "program/expert_stages.hpp"
#include "program/layer_passes.hpp"

namespace meshsim {
namespace {

const MoeMlp& block_of(const Plan& plan) { return std::get<MoeMlp>(plan.model.kinds.front().mlp); }

}  // namespace

std::optional<std::string> moe_block_not_lowered(const Plan& plan) {
  const ResolvedConfig& config = plan.config;
  if (splits_batch(plan)) return "single MoE blocks in the batch-split schedule";
  if (config.integer("num_moe_emb_chunks") > 1)
    return "single MoE blocks in chunks of the embedding";
  for (const char* axis : {"tensor", "tensor_sequence", "context", "context_usp_ulysses"}) {
    if (plan.mesh.size(axis) > 1) return "single MoE blocks whose tokens or widths are split";
  }
  if (plan.training.gradient_accumulation > 1)
    return "single MoE blocks with accumulated gradients";
  return {};
}

LayerTemplate moe_block_template(const Plan& plan, const LocalBatch& batch) {
  LayerBuilder build(plan, "moe_block", plan_layer_tensors(plan, plan.model.kinds.front()), batch);
  build.activation(layer_input, batch.tokens(), plan.model.emb_dim);
  build.stage("choices");
  const Names outputs = build_routed(build, block_of(plan), layer_input);
  // The loss: every output is read, and its gradient written.
  Names gradients;
  for (const Name output : outputs) gradients.push_back("d_" + output);
  build.stage("loss");
  build.forward(build.compute("loss", OpKind::elementwise, {}, {}, outputs, gradients));
  return build.take();
}

StepProgram lower_moe_block(const Plan& plan, Prefetch prefetch, const StepTemplates& templates) {
  const LayerTemplate& layer = templates.kind(0);
  StepProgram program;
  Emitter emit(program, templates);
  LayerPasses passes(emit, prefetch);
  Instance use = emit.instance(layer);
  program.loads = expert_loads(plan, layer.exchange);
  if (program.loads) use.moe_layer = 0;
  std::vector<ProgramNode> nodes;
  if (passes.ahead())
    nodes = emit.gather(layer, forward_weights(layer), use.weights, Pass::forward);
  nodes.push_back(passes.forward(use, {}));

  const BufferId store =
      emit.buffer("moe_block gradients", "gradients", emit.numbers(layer).gradients());
  append(nodes, passes.backward(use, store));
  if (passes.ahead()) append(nodes, emit.reduce(layer, all_gradients(layer), use.gradients, store));
  program.root = sequence(std::move(nodes));
  program.tokens = step_tokens(plan);
  program.assumptions = expert_assumptions(plan);
  program.assumptions.emplace_back(
      "the block's inputs are its tokens and their choices; nothing is recomputed");
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (const auto* work = std::get_if<Compute>(&leaf.work))
      program.model_flops += work->model_flops * times;
  });
  return program;
}

}  // namespace meshsim
