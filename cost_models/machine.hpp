// What one device can do, as prices need it: rates after efficiencies, and the ICI of each mesh
// axis.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plans/plan.hpp"
#include "program/step_program.hpp"
#include "topologies/footprint.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// A share of a peak, with its source.
struct Efficiency {
  std::string name;
  double value = 1;
  std::string source;
};

struct Machine {
  FlopsPerSecond matmul;        // sustained
  FlopsPerSecond matmul_peak;   // of the chip's sheet; MFU is measured against it
  std::int64_t mxu_size = 128;  // K and N of a product are padded to it
  BytesPerSecond hbm;           // sustained
  BytesPerSecond ici_link;      // sustained, one link, one direction
  Picoseconds hop_latency;
  BytesPerSecond pcie;            // to or from the host, of one device
  BytesPerSecond dcn;             // one device's share of its host's, each way
  std::size_t physical_axes = 0;  // of the torus

  struct AxisParts {
    std::string mesh_axis;
    std::vector<PhysicalPart> parts;
    std::int64_t slices = 1;  // that the axis spans over DCN
  };
  std::vector<AxisParts> mesh_axes;
  std::vector<Efficiency> efficiencies;

  // The parts of the physical axes that a group over `axes` spans. Throws Error(internal) for an
  // unknown axis.
  std::vector<PhysicalPart> parts(const std::vector<std::string>& axes) const;
  // The slices that such a group spans.
  std::int64_t slices(const std::vector<std::string>& axes) const;
};

// Why `program` cannot be priced on `topology`, or nothing: a constant that no source states.
std::optional<std::string> not_priced(const Topology& topology, const StepProgram& program);

// The machine of `plan`. Requires !not_priced.
Machine machine_of(const Plan& plan);

}  // namespace meshsim
