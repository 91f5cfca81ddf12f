// Collectives on parts of a torus: phases with link loads, and their time.
//
// Every group of the collective is the product of parts of physical axes (PhysicalPart: n members,
// `stride` chips apart, ring or line); all groups of the same shape, which together cover the
// torus, run at the same time. A uniform collective loads all links of one axis, direction and
// coordinate alike, so that its cost is the sum of the axis sizes, whatever the number of chips.
//
//   w    bandwidth of a link in one direction      lambda  latency of a hop
//   N    members of a group = prod n_d             B       the request's bytes
//
//   B is the gathered output of an all-gather, the input of a reduce-scatter or all-reduce, the
//   payload of a chip with its own share of an all-to-all, what a chip sends in a
//   collective-permute, and what the root has in a broadcast.
//
// Ring algorithms (all-gather, reduce-scatter, all-reduce): n - 1 steps of one shard; in both
// directions, half of every shard each way. On several axes at once B is cut into one part an axis,
// such that all axes carry their bytes in the same time, or into equal ones where that is faster;
// part p visits the axes in the order p, p + 1, ... (lines first, then by size), all parts at once,
// stage by stage. An all-reduce is a reduce-scatter and an all-gather. All-to-all: every chip sends
// B / N to every member, dimension-ordered, shortest ways, all axes at once, as fluids: when it has
// its links to itself, the busiest link is never idle, and sets the time. Collective-permute: every
// member sends B to the one `shift` places on along each axis. Broadcast: from the members at
// coordinate 0, along one axis after the other, in a pipeline.
//
// A phase in which every busy link moves `rounds` times x bytes a chunk, in m steps of h hops, in C
// chunks that follow each other, takes
//
//   max( rounds C x / w + h lambda,  m (h lambda + x / w) + (C - 1) x / w )
//
// (the link never waits; or a chunk meets the latency of every step). With C = 1 a ring so pays its
// latency per step. On several axes, chunks follow each other through the axes instead: phases of
// 1 / C of the bytes each, C + axes - 1 of them.
//
// Slices are joined by DCN, a bandwidth per chip: ring algorithms reduce within slices first and
// gather within slices last, so that 1 / N of the bytes crosses DCN; an all-to-all sends what is
// meant for other slices to the same place there, and then runs within the slice.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "topologies/footprint.hpp"
#include "topologies/torus.hpp"
#include "units/quantity.hpp"

namespace meshsim {

enum class CollectiveOp {
  all_gather,
  reduce_scatter,
  all_reduce,
  all_to_all,
  collective_permute,
  broadcast,
};
std::string_view name(CollectiveOp op);
// Throws Error(invalid_input) with the nearest names.
CollectiveOp collective_op(std::string_view name);

struct NetworkSpeed {
  BytesPerSecond link;  // one direction
  Picoseconds hop_latency;
  BytesPerSecond dcn;  // of one chip, one direction; needed for several slices
  Picoseconds dcn_latency;
};

struct CollectiveRequest {
  CollectiveOp op = CollectiveOp::all_gather;
  Bytes bytes;
  std::vector<PhysicalPart> parts;  // of more than one member; by axis
  bool both_directions = true;
  HalfwayTies ties = HalfwayTies::one_way;
  std::int64_t chunks = 1;
  std::int64_t shift = 1;   // of a collective-permute
  std::int64_t slices = 1;  // each group has its members in all of them
};

// Bytes over the links that leave coordinate i of an axis; the same on every line of that axis, or,
// if `rooted`, on those alone whose later axes stand at coordinate 0 of their group.
struct AxisLoad {
  std::size_t axis = 0;
  std::vector<double> positive, negative;
  bool rooted = false;

  double most() const;
};

struct Phase {
  std::string name;
  std::int64_t repeat = 1;
  std::int64_t steps = 1;     // m
  std::int64_t hops = 1;      // h, of one step
  std::int64_t rounds = 1;    // steps in which one link is busy
  std::int64_t chunks = 1;    // C
  std::vector<AxisLoad> ici;  // all chunks; of one repetition
  double dcn_bytes = 0;       // of one chip
  Picoseconds least;          // of the slowest single message, where that may exceed the above
  Picoseconds time;           // of one repetition
};

// Throws Error(invalid_input): no member besides oneself, one direction on a line, bytes below 0, a
// bandwidth that is not above 0.
std::vector<Phase> phases(const CollectiveRequest& request, const NetworkSpeed& speed,
                          const Torus& torus);
Picoseconds total_time(const std::vector<Phase>& phases);

// The bytes over each kind of link in all phases, one entry an axis that is used.
std::vector<AxisLoad> total_loads(const std::vector<Phase>& phases);

// The theory, derived apart from the phases (collective_closed_form.cpp).
Picoseconds closed_form(const CollectiveRequest& request, const NetworkSpeed& speed);

std::int64_t members(const CollectiveRequest& request);  // of a group, in all slices
// What every chip must send or receive at least, as a share of `bytes`: time x this factor is the
// bus bandwidth's numerator.
double bus_factor(const CollectiveRequest& request);

}  // namespace meshsim
