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

#include "model_specs/scan_layout.hpp"

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

// The stages run the same program, and so layers of one kind, or blocks of a scan. The others run
// outside, on the stages as on more data parallelism (MaxText's decoders, 2026):
//
//   deepseek, hunyuan3   dense layers, then MoE layers beyond pipeline_parallel_layers | pipeline
//   deepseek4            hash layers | pipeline of pairs | suffix   (a what-if)
//   others               pipeline | layers beyond pipeline_parallel_layers
//
// Of which at most so many are pipelined, without pipeline_parallel_layers all of them:
std::int64_t most_pipelined_layers(const Plan& plan);
std::int64_t pipelined_layers(const Plan& plan);

// Whether a stage gathers its weights over FSDP before its iterations, and how many sets of those
// of one repeat it then holds: all R, or the one in use and the next (0: it gathers in each
// iteration).
std::int64_t weights_ahead(const Plan& plan);

// Layers of a block of the scan that is pipelined.
std::int64_t pipelined_block(const Plan& plan);

// The scan of a plan with a pipeline in it: its segment is stacked over "layers", which the stages
// share out.
ScanLayout pipelined_layout(const Plan& plan, const ScanLayout& layout);
bool is_pipelined(const Plan& plan, const Segment& segment);

}  // namespace meshsim
