#include "topologies/footprint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "units/error.hpp"

namespace meshsim {
namespace {

bool is_ring(const Torus& torus, std::size_t axis, std::int64_t part, std::int64_t stride) {
  if (axis >= torus.shape().size()) return false;
  return torus.wraps(axis) && part * stride == torus.shape()[axis];
}

// The devices between neighbours of `logical_axis` on a row of the assignment.
std::int64_t stride_of(const std::vector<std::int64_t>& row, std::size_t logical_axis) {
  std::int64_t stride = 1;
  for (std::size_t inner = logical_axis + 1; inner < row.size(); ++inner) stride *= row[inner];
  return stride;
}

bool crosses(const Torus& torus, const Link& link, const PhysicalPart& part) {
  if (link.axis != part.axis) return false;
  if (part.wraparound) return true;
  const std::int64_t from = torus.coordinate(link.from, part.axis);
  const std::int64_t to = torus.coordinate(link.to, part.axis);
  const bool wraps_around = (link.direction == Direction::positive) != (to > from);
  const std::int64_t segment = part.part * part.stride;
  return !wraps_around && from / segment == to / segment;
}

std::vector<LinkId> links_of(const Torus& torus, const std::vector<PhysicalPart>& parts) {
  std::vector<LinkId> links;
  for (LinkId id = 0; id < torus.links(); ++id) {
    const Link& link = torus.link(id);
    if (std::any_of(parts.begin(), parts.end(),
                    [&](const PhysicalPart& part) { return crosses(torus, link, part); })) {
      links.push_back(id);
    }
  }
  return links;
}

void check_same_box(const MeshAssignment& mesh, const Torus& torus) {
  const auto shape = torus.shape();
  if (mesh.physical.size() >= shape.size() &&
      std::equal(shape.begin(), shape.end(), mesh.physical.begin())) {
    return;
  }
  throw Error(ErrorKind::invalid_input, fmt::format("a mesh on {} does not lie on a torus of {}",
                                                    shape_text(mesh.physical), shape_text(shape)));
}

}  // namespace

std::vector<AxisFootprint> footprints(const MeshAssignment& mesh, const Torus& torus) {
  check_same_box(mesh, torus);
  std::vector<AxisFootprint> all;
  for (std::size_t logical = 0; logical < mesh.logical.size(); ++logical) {
    AxisFootprint footprint{logical, mesh.logical[logical], {}, {}};
    for (std::size_t axis = 0; axis < mesh.physical.size(); ++axis) {
      const std::int64_t part = mesh.assignment[axis][logical];
      if (part == 1) continue;
      const std::int64_t stride = stride_of(mesh.assignment[axis], logical);
      footprint.physical.push_back({axis, part, stride, is_ring(torus, axis, part, stride)});
    }
    footprint.links = links_of(torus, footprint.physical);
    all.push_back(std::move(footprint));
  }
  return all;
}

}  // namespace meshsim
