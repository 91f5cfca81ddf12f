#include "topologies/torus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::array both_directions{Direction::positive, Direction::negative};

std::int64_t checked_chips(std::span<const std::int64_t> shape, std::size_t flags) {
  if (shape.empty() || shape.size() > Torus::max_rank || flags != shape.size()) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("a torus has 1 to {} axes and one wraparound flag for each (got {} "
                            "axes, {} flags)",
                            Torus::max_rank, shape.size(), flags));
  }
  std::int64_t chips = 1;
  for (const std::int64_t size : shape) {
    if (size < 1 || size > max_chips / chips) {
      throw Error(ErrorKind::invalid_input, fmt::format("a torus of {} must have 1 to {} chips",
                                                        shape_text(shape), max_chips));
    }
    chips *= size;
  }
  return chips;
}

std::vector<std::int64_t> row_major_strides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t axis = shape.size() - 1; axis > 0; --axis) {
    strides[axis - 1] = strides[axis] * shape[axis];
  }
  return strides;
}

Torus::Graph graph_of(std::span<const Link> links, std::int64_t chips) {
  std::vector<std::pair<std::size_t, std::size_t>> ends;
  ends.reserve(links.size());
  for (const Link& link : links) ends.emplace_back(link.from, link.to);
  return {boost::edges_are_sorted, ends.begin(), ends.end(), links.begin(),
          static_cast<std::size_t>(chips)};
}

void check_order(std::span<const std::size_t> order, std::size_t rank) {
  std::array<bool, Torus::max_rank> named{};
  bool fine = order.size() == rank;
  for (const std::size_t axis : order) {
    fine = fine && axis < rank && !named[axis];
    if (fine) named[axis] = true;
  }
  if (!fine) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("a routing order must name each of the {} axes once", rank));
  }
}

}  // namespace

Torus::Torus(std::vector<std::int64_t> shape, std::vector<bool> wraparound)
    : shape_(std::move(shape)), wraparound_(std::move(wraparound)) {
  chips_ = checked_chips(shape_, wraparound_.size());
  stride_ = row_major_strides(shape_);
  std::vector<Link> links;
  link_at_.assign(static_cast<std::size_t>(chips_) * shape_.size() * 2, no_link);
  for (ChipId chip = 0; chip < chips_; ++chip) {
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      for (const Direction direction : both_directions) {
        const std::optional<ChipId> to = neighbour(chip, axis, direction);
        if (!to) continue;
        link_at_[slot(chip, axis, direction)] = static_cast<std::int32_t>(links.size());
        links.push_back({static_cast<std::uint32_t>(chip), static_cast<std::uint32_t>(*to),
                         static_cast<std::uint8_t>(axis), direction});
      }
    }
  }
  graph_ = graph_of(links, chips_);
}

std::size_t Torus::slot(ChipId chip, std::size_t axis, Direction direction) const {
  return (static_cast<std::size_t>(chip) * shape_.size() + axis) * 2 +
         (direction == Direction::negative ? 1 : 0);
}

std::optional<LinkId> Torus::find_link(ChipId chip, std::size_t axis, Direction direction) const {
  if (chip < 0 || chip >= chips_ || axis >= shape_.size()) return std::nullopt;
  const std::int32_t id = link_at_[slot(chip, axis, direction)];
  return id == no_link ? std::nullopt : std::optional<LinkId>(id);
}

std::optional<ChipId> Torus::neighbour(ChipId chip, std::size_t axis, Direction direction) const {
  const std::int64_t size = shape_[axis];
  const std::int64_t here = coordinate(chip, axis);
  const std::int64_t next = here + (direction == Direction::positive ? 1 : -1);
  if (size == 1) return std::nullopt;
  if (next >= 0 && next < size) return chip + (next - here) * stride_[axis];
  if (!wraparound_[axis]) return std::nullopt;
  return chip + ((next + size) % size - here) * stride_[axis];
}

std::int64_t Torus::coordinate(ChipId chip, std::size_t axis) const {
  return chip / stride_[axis] % shape_[axis];
}

ChipId Torus::chip_at(std::span<const std::int64_t> coordinates) const {
  return std::inner_product(coordinates.begin(), coordinates.end(), stride_.begin(), ChipId{0});
}

void Torus::check_chips(ChipId from, ChipId to) const {
  for (const ChipId chip : {from, to}) {
    if (chip < 0 || chip >= chips_) {
      throw Error(ErrorKind::invalid_input, fmt::format("chip {} is not on a torus of {} (0 to {})",
                                                        chip, shape_text(shape_), chips_ - 1));
    }
  }
}

std::int64_t Torus::distance(ChipId from, ChipId to) const {
  check_chips(from, to);
  std::int64_t hops = 0;
  for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
    const std::int64_t gap = std::abs(coordinate(from, axis) - coordinate(to, axis));
    hops += wraparound_[axis] ? std::min(gap, shape_[axis] - gap) : gap;
  }
  return hops;
}

std::vector<Leg> Torus::legs(ChipId from, ChipId to, const Routing& routing) const {
  check_chips(from, to);
  if (!routing.axis_order.empty()) check_order(routing.axis_order, shape_.size());
  std::vector<Leg> legs;
  ChipId at = from;
  for (std::size_t step = 0; step < shape_.size(); ++step) {
    const std::size_t axis = routing.axis_order.empty() ? step : routing.axis_order[step];
    const std::int64_t gap = coordinate(to, axis) - coordinate(from, axis);
    if (gap == 0) continue;
    const std::int64_t size = shape_[axis];
    const std::int64_t forward = (gap + size) % size;  // hops in the positive direction on a ring
    if (!wraparound_[axis]) {
      const Direction only_way = gap > 0 ? Direction::positive : Direction::negative;
      legs.push_back({at, axis, only_way, std::abs(gap), 1});
    } else if (2 * forward == size && routing.ties == HalfwayTies::split) {
      legs.push_back({at, axis, Direction::positive, forward, 0.5});
      legs.push_back({at, axis, Direction::negative, forward, 0.5});
    } else if (2 * forward <= size) {
      legs.push_back({at, axis, Direction::positive, forward, 1});
    } else {
      legs.push_back({at, axis, Direction::negative, size - forward, 1});
    }
    at += gap * stride_[axis];
  }
  return legs;
}

void Torus::append_links(const Leg& leg, std::vector<LinkId>& links) const {
  ChipId at = leg.from;
  for (std::int64_t hop = 0; hop < leg.hops; ++hop) {
    const std::int32_t id = link_at_[slot(at, leg.axis, leg.direction)];
    links.push_back(id);
    at = link(id).to;
  }
}

std::vector<LinkId> Torus::route(ChipId from, ChipId to,
                                 std::span<const std::size_t> axis_order) const {
  const Routing routing{HalfwayTies::one_way, {axis_order.begin(), axis_order.end()}};
  std::vector<LinkId> links;
  for (const Leg& leg : legs(from, to, routing)) append_links(leg, links);
  return links;
}

std::vector<Path> Torus::paths(ChipId from, ChipId to, const Routing& routing) const {
  const std::vector<Leg> all = legs(from, to, routing);
  std::vector<Path> paths{Path{}};
  for (std::size_t first = 0; first < all.size();) {
    std::size_t next = first + 1;  // past the legs of this axis
    while (next < all.size() && all[next].axis == all[first].axis) ++next;
    std::vector<Path> extended;
    for (const Path& path : paths) {
      for (std::size_t way = first; way < next; ++way) {
        Path longer = path;
        longer.weight *= all[way].weight;
        append_links(all[way], longer.links);
        extended.push_back(std::move(longer));
      }
    }
    paths = std::move(extended);
    first = next;
  }
  return paths;
}

std::vector<LinkShare> Torus::shares(ChipId from, ChipId to, const Routing& routing) const {
  std::vector<LinkShare> shares;
  std::vector<LinkId> links;
  for (const Leg& leg : legs(from, to, routing)) {
    links.clear();
    append_links(leg, links);
    for (const LinkId link : links) shares.push_back({link, leg.weight});
  }
  return shares;
}

}  // namespace meshsim
