#include "plans/pipeline.hpp"

#include <algorithm>

#include "plans/plan.hpp"

namespace meshsim {

namespace {

bool pipelines_moe_layers(const Plan& plan) {
  const std::string& decoder = plan.model.config.decoder_block;
  return decoder == "deepseek" || decoder == "hunyuan3";
}

}  // namespace

std::int64_t most_pipelined_layers(const Plan& plan) {
  const ModelConfig& c = plan.model.config;
  const auto all = static_cast<std::int64_t>(plan.model.num_layers());
  if (pipelines_moe_layers(plan) && c.first_num_dense_layers < all)
    return all - c.first_num_dense_layers;
  if (plan.model.is_deepseek4())
    return std::max<std::int64_t>(all - c.first_num_hash_layers - c.unrolled_suffix_layers, 0);
  return all;
}

std::int64_t pipelined_layers(const Plan& plan) {
  const std::int64_t given = plan.config.integer("pipeline_parallel_layers");
  return given == -1 ? most_pipelined_layers(plan) : given;
}

std::int64_t pipelined_block(const Plan& plan) {
  if (pipelines_moe_layers(plan)) return 1;
  return plan.model.is_deepseek4() ? 2 : plan.model.config.inhomogeneous_layer_cycle_interval;
}

std::int64_t weights_ahead(const Plan& plan) {
  const std::int64_t repeats = pipeline_schedule(plan).repeats;
  if (plan.mesh.size("stage") == 1) return 0;
  if (plan.config.boolean("pipeline_fsdp_ag_once")) return repeats;
  return plan.config.boolean("pipeline_fsdp_ag_per_repeat") ? std::min<std::int64_t>(repeats, 2)
                                                            : 0;
}

bool is_pipelined(const Plan& plan, const Segment& segment) {
  return plan.mesh.size("stage") > 1 && segment.scanned && segment.stack_axis == "layers";
}

ScanLayout pipelined_layout(const Plan& plan, const ScanLayout& layout) {
  if (plan.mesh.size("stage") == 1) return layout;
  const auto count = static_cast<std::size_t>(pipelined_layers(plan));
  const bool last = pipelines_moe_layers(plan);
  ScanLayout result;
  for (const Segment& segment : layout.segments) {
    const bool dense = segment.name == "dense_layers" && layout.segments.size() > 1;
    const std::size_t layers = segment.block * segment.repeats;
    if (!segment.scanned || dense || count > layers) {
      result.segments.push_back(segment);
      continue;
    }
    Segment piped = segment;
    piped.stack_axis = "layers";
    piped.repeats = count / segment.block;
    Segment rest = segment;
    rest.repeats = segment.repeats - piped.repeats;
    if (last) {
      piped.first += rest.repeats * rest.block;
      if (rest.repeats > 0) piped.name = "pipelined_" + segment.name;
      if (rest.repeats > 0) result.segments.push_back(rest);
      result.segments.push_back(piped);
    } else {
      rest.first += count;
      rest.name = rest.stack_axis = "layers_outside_pipeline";
      result.segments.push_back(piped);
      if (rest.repeats > 0) result.segments.push_back(rest);
    }
  }
  return result;
}

PipelineSchedule pipeline_schedule(const Plan& plan) {
  PipelineSchedule schedule;
  schedule.stages = plan.mesh.size("stage");
  if (schedule.stages == 1) return schedule;
  const ResolvedConfig& config = plan.config;
  schedule.hop = config.boolean("pipeline_delay_activation_forwarding") ? 2 : 1;
  schedule.stage_layers = config.integer("num_layers_per_pipeline_stage");
  const std::int64_t repeats = config.integer("num_pipeline_repeats");
  const std::int64_t needed = pipelined_layers(plan) / (schedule.stages * schedule.stage_layers);
  schedule.repeats = repeats == -1 ? std::max<std::int64_t>(needed, 1) : repeats;
  const std::int64_t microbatches = config.integer("num_pipeline_microbatches");
  schedule.microbatches = microbatches == -1 ? schedule.hop * schedule.stages : microbatches;
  return schedule;
}

}  // namespace meshsim
