// What one device can do, as prices need it: rates after efficiencies, and the ICI of each mesh
// axis.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "plans/plan.hpp"
#include "program/step_program.hpp"
#include "topologies/footprint.hpp"
#include "units/quantity.hpp"

namespace meshsim {

struct Machine {
  FlopsPerSecond matmul;       // sustained
  FlopsPerSecond matmul_peak;  // of the chip's sheet; MFU is measured against it
  double grouped_share = 1;    // of `matmul` that a grouped product sustains
  double int8_speedup = 1;     // of products, over bfloat16
  double fp8_speedup = 1;
  std::int64_t cores = 1;       // TensorCores, which work as one
  std::int64_t mxu_size = 128;  // K and N of a product are padded to it
  double vector_rate = 1;       // operations per second of the vector units
  double softmax_ops = 0;       // vector operations per logit and pass of an attention kernel
  Picoseconds grid_step;        // of an attention kernel: a fixed time per block
  BytesPerSecond row_gather{std::numeric_limits<double>::infinity()};   // sustained
  BytesPerSecond scatter_add{std::numeric_limits<double>::infinity()};  // sustained
  double sort_step = 0;     // seconds of one key in one stage of a sorting network
  BytesPerSecond hbm;       // sustained
  BytesPerSecond ici_link;  // sustained, one link, one direction
  Picoseconds hop_latency;
  Software software;
  double offloaded_transfer = 1;  // of the TensorCore, while the SparseCores move something
  BytesPerSecond pcie;            // to or from the host, of one device
  BytesPerSecond dcn;             // one device's share of its host's, each way
  std::size_t physical_axes = 0;  // of the torus

  struct AxisParts {
    std::string mesh_axis;
    std::vector<PhysicalPart> parts;
    std::int64_t slices = 1;  // that the axis spans over DCN
  };
  std::vector<AxisParts> mesh_axes;

  double speedup(NumberFormat format) const {
    return format == NumberFormat::int8  ? int8_speedup
           : format == NumberFormat::fp8 ? fp8_speedup
                                         : 1;
  }

  // The parts of the physical axes that a group over `axes` spans. Throws Error(internal) for an
  // unknown axis.
  std::vector<PhysicalPart> parts(const std::vector<std::string>& axes) const;
  // The slices that such a group spans.
  std::int64_t slices(const std::vector<std::string>& axes) const;
};

// Why `program` cannot be priced on `topology`, or nothing: a constant that no source states.
std::optional<std::string> not_priced(const Topology& topology, const StepProgram& program);

// The machine of `plan` by its calibration. Requires !not_priced.
Machine machine_of(const Plan& plan);

}  // namespace meshsim
