#include "cost_models/machine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topologies/calibration.hpp"

namespace meshsim {

namespace {

// Operations per second of a device's vector units: 8 sublanes x 128 lanes x 4 slots a cycle and
// core. The clock is published or follows from the peak of the MXUs.
double vector_rate(const Chip& chip) {
  const auto cores = static_cast<double>(chip.tensor_cores.value);
  const auto size = static_cast<double>(chip.mxu_size.value);
  const double clock =
      chip.clock_hz ? chip.clock_hz->value
                    : chip.peak_bf16.value.value() /
                          (2 * size * size * cores * static_cast<double>(chip.mxus_per_core.value));
  return 8 * 128 * 4 * clock * cores / static_cast<double>(chip.devices_per_chip.value);
}

}  // namespace

std::vector<PhysicalPart> Machine::parts(const std::vector<std::string>& axes) const {
  std::vector<PhysicalPart> all;
  for (const std::string& axis : axes) {
    bool known = false;
    for (const AxisParts& candidate : mesh_axes) {
      if (candidate.mesh_axis != axis) continue;
      known = true;
      all.insert(all.end(), candidate.parts.begin(), candidate.parts.end());
    }
    if (!known)
      throw Error(ErrorKind::internal, fmt::format("no mesh axis {} on this machine", axis));
  }
  return all;
}

std::int64_t Machine::slices(const std::vector<std::string>& axes) const {
  std::int64_t product = 1;
  for (const AxisParts& candidate : mesh_axes) {
    if (std::find(axes.begin(), axes.end(), candidate.mesh_axis) != axes.end())
      product *= candidate.slices;
  }
  return product;
}

std::optional<std::string> not_priced(const Topology& topology, const StepProgram& program) {
  const Chip& chip = *topology.slice.chip;
  if (!chip.ici_link_bandwidth)
    return fmt::format("step time on {}: its ICI link bandwidth is not published", chip.name);
  if (topology.slices > 1 && !chip.dcn_bandwidth)
    return fmt::format("step time over several slices of {}: its DCN bandwidth is not published",
                       chip.name);
  bool offloads = false;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    offloads |= std::holds_alternative<HostCopy>(leaf.work);
  });
  if (offloads && !chip.pcie_bandwidth)
    return fmt::format("step time on {}: its PCIe bandwidth is not published", chip.name);
  return {};
}

Machine machine_of(const Plan& plan) {
  const Chip& chip = *plan.topology.slice.chip;
  Machine machine;
  const auto constant = [&](std::string_view name) {
    return plan.config.calibration->value(name, chip.name);
  };
  machine.matmul_peak = per_device(chip, chip.peak_bf16.value);
  machine.matmul = machine.matmul_peak * constant("matmul");
  machine.grouped_share = constant("grouped_matmul") / constant("matmul");
  if (chip.peak_int8) machine.int8_speedup = chip.peak_int8->value / chip.peak_bf16.value;
  if (chip.peak_fp8) machine.fp8_speedup = chip.peak_fp8->value / chip.peak_bf16.value;
  machine.cores = tensor_cores_per_device(chip);
  machine.mxu_size = chip.mxu_size.value;
  machine.vector_rate = vector_rate(chip);
  machine.softmax_ops = constant("softmax_ops");
  // The blocks of a grid are shared out over the cores.
  machine.grid_step = picoseconds_from_seconds(constant("attention_grid_step") /
                                               static_cast<double>(machine.cores));
  machine.hbm = per_device(chip, chip.hbm_bandwidth.value) * constant("hbm");
  machine.row_gather = machine.hbm * constant("row_gather");
  machine.scatter_add = BytesPerSecond(constant("scatter_add"));
  machine.sort_step = constant("sort_step");
  machine.ici_link = chip.ici_link_bandwidth->value * constant("ici");
  machine.software = plan.software;
  machine.offloaded_transfer = constant("offloaded_transfer");
  machine.hop_latency = chip.ici_hop_latency.value;
  if (chip.dcn_bandwidth) machine.dcn = per_device(chip, chip.dcn_bandwidth->value);
  if (chip.pcie_bandwidth) machine.pcie = per_device(chip, chip.pcie_bandwidth->value);
  const Torus torus(plan.topology.slice);
  machine.physical_axes = plan.topology.slice.shape.size();
  for (const AxisFootprint& footprint : footprints(plan.placement, torus)) {
    const MeshAxis& axis = plan.mesh.axes[footprint.logical_axis];
    machine.mesh_axes.push_back({axis.name, footprint.physical, axis.dcn});
  }
  return machine;
}

}  // namespace meshsim
