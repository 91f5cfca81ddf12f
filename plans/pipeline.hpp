// The schedule of a circular pipeline, as MaxText resolves it.
//
//   P   stages: the degree of the mesh axis `stage`
//   R   repeats: how often a microbatch goes round all stages
//   Lp  layers that a stage runs at a time: P R Lp layers in all
//   M   microbatches of the sequences of one forward and backward pass
//   d   iterations from one stage to the next: 1, or 2 where activations are sent while the next
//       iteration computes (pipeline_delay_activation_forwarding)
//
// Microbatch m runs repeat r on stage s in iteration r M + m + d s. So the last of
//
//   M R + d (P - 1)
//
// iterations is that of the last stage, and each stage idles in d (P - 1) of them: the bubble.
#pragma once

#include <cstdint>

namespace meshsim {

struct Plan;

struct PipelineSchedule {
  std::int64_t stages = 1;        // P
  std::int64_t repeats = 1;       // R
  std::int64_t stage_layers = 1;  // Lp
  std::int64_t microbatches = 1;  // M
  std::int64_t hop = 1;           // d

  std::int64_t layers() const { return stages * repeats * stage_layers; }
  std::int64_t busy() const { return microbatches * repeats; }
  std::int64_t idle() const { return hop * (stages - 1); }
  std::int64_t iterations() const { return busy() + idle(); }
  // A microbatch that has come round waits for the others before its next repeat.
  bool waits() const { return repeats > 1 && microbatches > hop * stages; }
};

// One stage and one microbatch without a pipeline. R and M have MaxText's defaults where the plan
// leaves them open: as many repeats as the layers need, d P microbatches.
PipelineSchedule pipeline_schedule(const Plan& plan);

// The layers that are pipelined: all, or pipeline_parallel_layers.
std::int64_t pipelined_layers(const Plan& plan);

}  // namespace meshsim
