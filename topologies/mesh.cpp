#include "topologies/mesh.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "topologies/mesh_search.hpp"
#include "topologies/slice.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

using Sizes = std::span<const std::int64_t>;

[[noreturn]] void refuse(std::string what, std::string hint) {
  throw Error(ErrorKind::invalid_input, std::move(what), std::move(hint));
}

// The degrees as a user gives them: "1,32,8".
std::string degrees_text(Sizes logical) { return fmt::format("{}", fmt::join(logical, ",")); }

void check_sizes(Sizes sizes, std::string_view what, std::size_t most_axes) {
  if (sizes.empty() || sizes.size() > most_axes) {
    refuse(fmt::format("a {} mesh has 1 to {} axes (got {})", what, most_axes, sizes.size()), {});
  }
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] < 1) {
      refuse(fmt::format("{} axis {} must be at least 1 (got {})", what, axis, sizes[axis]), {});
    }
  }
}

// Single changes that make the product right: "logical axis 1 = 8 or logical axis 2 = 4 would fit".
std::string one_degree_that_fits(Sizes logical, std::int64_t devices, std::int64_t product) {
  std::string text;
  for (std::size_t axis = 0; axis < logical.size(); ++axis) {
    const std::int64_t others = product / logical[axis];
    if (devices % others != 0) continue;
    text +=
        fmt::format("{}logical axis {} = {}", text.empty() ? "" : " or ", axis, devices / others);
  }
  return text.empty() ? text : text + " would fit";
}

void check_products(Sizes physical, Sizes logical) {
  const std::int64_t devices = checked_product(physical, "devices of the physical mesh");
  const std::int64_t product = checked_product(logical, "devices of the logical mesh");
  if (devices > 2 * max_chips) {
    refuse(fmt::format("a physical mesh of {} has more than {} devices", shape_text(physical),
                       2 * max_chips),
           {});
  }
  if (devices == product) return;
  refuse(fmt::format("the logical mesh {} has {} = {} devices, the physical mesh {} has {}",
                     degrees_text(logical), fmt::join(logical, " x "), product,
                     shape_text(physical), devices),
         one_degree_that_fits(logical, devices, product));
}

[[noreturn]] void refuse_whole(Sizes physical, Sizes logical, const WholeAxes& placed) {
  const std::size_t axis = *placed.refused;
  const std::vector<std::int64_t> nearest = nearest_whole_degrees(physical, logical);
  refuse(fmt::format("logical axis {} of size {} is no product of whole physical axes: {} is left "
                     "of {}",
                     axis, logical[axis],
                     placed.left.empty() ? std::string("nothing") : shape_text(placed.left),
                     shape_text(physical)),
         nearest.empty()
             ? "set allow_split_physical_axes=true"
             : fmt::format("set allow_split_physical_axes=true, or use the nearest degrees that "
                           "fit: {}",
                           degrees_text(nearest)));
}

// Each part as a digit of the flattened logical mesh, the outermost first; one step of a digit is
// `stride` device ids.
struct Digit {
  std::int64_t size;
  std::int64_t stride;
};

std::vector<Digit> digits_of(Sizes physical, Sizes logical, const Assignment& assignment) {
  std::vector<Digit> digits;
  for (std::size_t l = 0; l < logical.size(); ++l) {
    for (std::size_t p = 0; p < physical.size(); ++p) {
      const auto& row = assignment[p];
      const auto after_p = physical.begin() + static_cast<std::ptrdiff_t>(p) + 1;
      const auto after_l = row.begin() + static_cast<std::ptrdiff_t>(l) + 1;
      const std::int64_t stride =
          std::accumulate(after_p, physical.end(), std::int64_t{1}, std::multiplies<>()) *
          std::accumulate(after_l, row.end(), std::int64_t{1}, std::multiplies<>());
      if (row[l] > 1) digits.push_back({row[l], stride});
    }
  }
  return digits;
}

std::vector<std::int64_t> devices_in_order(const std::vector<Digit>& outermost_first) {
  std::vector<std::int64_t> order{0};
  for (const Digit& digit : outermost_first) {
    std::vector<std::int64_t> finer;
    finer.reserve(order.size() * static_cast<std::size_t>(digit.size));
    for (const std::int64_t device : order) {
      for (std::int64_t i = 0; i < digit.size; ++i) finer.push_back(device + i * digit.stride);
    }
    order = std::move(finer);
  }
  return order;
}

}  // namespace

MeshAssignment assign_mesh(Sizes physical, Sizes logical, bool allow_split_physical_axes) {
  check_sizes(physical, "physical", max_physical_axes);
  check_sizes(logical, "logical", max_logical_axes);
  check_products(physical, logical);
  MeshAssignment mesh{{physical.begin(), physical.end()},
                      {logical.begin(), logical.end()},
                      allow_split_physical_axes,
                      {},
                      {}};
  WholeAxes placed = place_whole_axes(physical, logical);
  if (!placed.refused) {
    mesh.assignment = std::move(placed.assignment);
  } else if (allow_split_physical_axes) {
    mesh.assignment = place_split_axes(physical, logical);
  } else {
    refuse_whole(physical, logical, placed);
  }
  mesh.device_order = devices_in_order(digits_of(physical, logical, mesh.assignment));
  return mesh;
}

std::vector<std::int64_t> hybrid_device_order(const MeshAssignment& ici, Sizes dcn) {
  check_sizes(dcn, "DCN", max_logical_axes);
  if (dcn.size() != ici.logical.size()) {
    refuse(fmt::format("the DCN mesh {} has {} axes, the mesh of a slice has {}", degrees_text(dcn),
                       dcn.size(), ici.logical.size()),
           "give one DCN degree for each logical axis");
  }
  const std::int64_t slices = checked_product(dcn, "slices");
  if (slices > max_slices) {
    refuse(fmt::format("the DCN mesh {} has more than {} slices", degrees_text(dcn), max_slices),
           {});
  }
  const auto devices = static_cast<std::int64_t>(ici.device_order.size());
  // Both meshes by digits: outer DCN, then ICI, axis by axis. The ICI digits index device_order.
  std::vector<Digit> digits;
  std::int64_t slices_inside = slices;
  std::int64_t places_inside = devices;
  for (std::size_t axis = 0; axis < dcn.size(); ++axis) {
    slices_inside /= dcn[axis];
    places_inside /= ici.logical[axis];
    digits.push_back({dcn[axis], slices_inside * devices});
    digits.push_back({ici.logical[axis], places_inside});
  }
  std::vector<std::int64_t> order = devices_in_order(digits);
  for (std::int64_t& place : order) {
    const std::int64_t slice = place / devices;
    place = slice * devices + ici.device_order[static_cast<std::size_t>(place % devices)];
  }
  return order;
}

}  // namespace meshsim
