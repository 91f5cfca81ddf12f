#include "plans/pipeline.hpp"

#include <algorithm>

#include "plans/plan.hpp"

namespace meshsim {

std::int64_t pipelined_layers(const Plan& plan) {
  const std::int64_t given = plan.config.integer("pipeline_parallel_layers");
  return given == -1 ? plan.model.num_layers() : given;
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
