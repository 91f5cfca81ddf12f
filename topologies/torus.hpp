// The torus of one slice: its chips, its directed links and the routes between chips.
//
// Chips count row-major with the last axis fastest: chip = (c_0 n_1 + c_1) n_2 + c_2. Each link
// carries one direction of one cable; the link (chip, axis, positive) leads from c_axis to
// c_axis + 1, mod n on a ring. Along an axis of n chips
//
//   n = 1                  no link
//   line (no wraparound)   n - 1 links each way; the ends lack one. n = 2: one link each way
//   ring (wraparound)      n links each way. n = 2: a chip's two ports lead to the same neighbour,
//                          so there are two parallel links each way
//
// Links are numbered from 0 by (chip, axis, positive before negative), without gaps.
//
// A route corrects one axis after another (axis 0 first unless told otherwise), the shortest way
// around each ring; on a line there is only one way. Half-way around a ring of even n both ways are
// equally long: `one_way` takes the positive one, `split` sends half of the bytes each way. The
// halves meet again before the next axis.
//
// Dimension order and shortest ways are how a torus is commonly routed; the routing tables of TPU
// ICI are not published, so this is an assumption.
#pragma once

#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "topologies/slice.hpp"

namespace meshsim {

using ChipId = std::int64_t;
using LinkId = std::int64_t;

enum class Direction { positive, negative };

struct Link {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint8_t axis = 0;
  Direction direction = Direction::positive;
};

enum class HalfwayTies { one_way, split };

struct Routing {
  HalfwayTies ties = HalfwayTies::one_way;
  std::vector<std::size_t> axis_order;  // every axis once; empty: 0, 1, 2, ...
};

// One straight part of a route: `hops` links of one direction from `from`, for `weight` of the
// bytes.
struct Leg {
  ChipId from = 0;
  std::size_t axis = 0;
  Direction direction = Direction::positive;
  std::int64_t hops = 0;
  double weight = 1;
};

// A whole way from source to destination, and the part of the bytes that takes it.
struct Path {
  std::vector<LinkId> links;
  double weight = 1;
};

// The part of a flow's bytes that crosses a link.
struct LinkShare {
  LinkId link = 0;
  double share = 1;
};

class Torus {
 public:
  static constexpr std::size_t max_rank = 4;
  using Graph = boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, Link>;

  // Throws Error(invalid_input) unless there are 1 to max_rank positive sizes, one wraparound flag
  // each, and at most max_chips chips.
  Torus(std::vector<std::int64_t> shape, std::vector<bool> wraparound);
  explicit Torus(const Slice& slice) : Torus(slice.shape, slice.wraparound) {}

  std::span<const std::int64_t> shape() const { return shape_; }
  bool wraps(std::size_t axis) const { return wraparound_[axis]; }
  std::int64_t chips() const { return chips_; }
  std::int64_t links() const { return static_cast<std::int64_t>(boost::num_edges(graph_)); }

  // Edge index = LinkId, vertex = ChipId.
  const Graph& graph() const { return graph_; }
  const Link& link(LinkId id) const {
    // A property is found by the index alone; the source of the edge plays no part.
    return graph_[Graph::edge_descriptor(0, static_cast<std::size_t>(id))];
  }
  // The link that leaves `chip` this way, if there is one.
  std::optional<LinkId> find_link(ChipId chip, std::size_t axis, Direction direction) const;

  std::int64_t coordinate(ChipId chip, std::size_t axis) const;
  ChipId chip_at(std::span<const std::int64_t> coordinates) const;

  // Links on a shortest way. This and all below: throws Error(invalid_input) unless both chips are
  // on the torus.
  std::int64_t distance(ChipId from, ChipId to) const;

  // The straight parts of the route in the order in which they are taken; none if from == to. Two
  // legs of weight 1/2 that start at the same chip are the two ways around a ring.
  std::vector<Leg> legs(ChipId from, ChipId to, const Routing& routing = {}) const;

  // The route under HalfwayTies::one_way.
  std::vector<LinkId> route(ChipId from, ChipId to,
                            std::span<const std::size_t> axis_order = {}) const;
  // All ways with their weights, which sum to 1: at most 2^rank; one empty way if from == to.
  std::vector<Path> paths(ChipId from, ChipId to, const Routing& routing = {}) const;
  // The links that the flow crosses, each once, with the part of its bytes.
  std::vector<LinkShare> shares(ChipId from, ChipId to, const Routing& routing = {}) const;

 private:
  static constexpr std::int32_t no_link = -1;

  std::size_t slot(ChipId chip, std::size_t axis, Direction direction) const;
  std::optional<ChipId> neighbour(ChipId chip, std::size_t axis, Direction direction) const;
  void check_chips(ChipId from, ChipId to) const;
  void append_links(const Leg& leg, std::vector<LinkId>& links) const;

  std::vector<std::int64_t> shape_;
  std::vector<bool> wraparound_;
  std::vector<std::int64_t> stride_;  // chips between neighbours along an axis
  std::int64_t chips_ = 0;
  Graph graph_;
  std::vector<std::int32_t> link_at_;  // by slot(): a LinkId, or no_link
};

}  // namespace meshsim
