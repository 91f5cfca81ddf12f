// What theory says of a collective that has its links to itself.
//
// b_d, what one chip can send along axis d: on a ring w times the directions in use, on a line w;
// divided by the stride, since that many groups share the links.
//
//   all-gather, reduce-scatter   (N - 1) / N  B / sum_d b_d + sum_d (n_d - 1) s_d lambda
//   all-reduce                   both
//   all-to-all                   max_d of s_d lambda + s_d B / w times, on a ring with both
//                                directions, n / 8 (n even, ties split), (n + 2) / 8 (n even, ties
//                                one way), (n^2 - 1) / (8 n) (n odd); with one direction
//                                (n - 1) / 2; on a line floor(n / 2) ceil(n / 2) / n, its cut
//   permute                      max_d of the flows over the busiest link x s_d B / w, + the hops
//   broadcast                    sum_d of a pipeline over the axis
//
// On several axes the first line is a lower bound: axes of unequal sizes are not all busy to the
// end of a phase.
#include <algorithm>

#include "sim/network/collective.hpp"

namespace meshsim {
namespace {

struct Theory {
  const CollectiveRequest& request;
  const NetworkSpeed& speed;
  double chips = 1;  // of a group, in one slice

  double directions(const PhysicalPart& part) const {
    return part.wraparound && request.both_directions ? 2 : 1;
  }

  Picoseconds rings(double bytes) const {
    double sending = 0;
    std::int64_t hops = 0;
    for (const PhysicalPart& part : request.parts) {
      sending += directions(part) * speed.link.value() / static_cast<double>(part.stride);
      hops += (part.part - 1) * part.stride;
    }
    if (sending == 0) return {};
    const double alone = bytes * (chips - 1) / chips / sending;
    const Picoseconds latency = speed.hop_latency * hops;
    if (request.parts.size() > 1 || request.chunks == 1)
      return latency + picoseconds_from_seconds(alone);
    return pipelined(request.parts.front(), alone / (chips - 1));
  }

  // n - 1 steps, each of which moves what takes `step` seconds, in chunks.
  Picoseconds pipelined(const PhysicalPart& part, double step) const {
    const auto n = static_cast<double>(part.part);
    const auto chunks = static_cast<double>(request.chunks);
    const Picoseconds hop = speed.hop_latency * part.stride;
    return std::max(
        hop + picoseconds_from_seconds((n - 1) * step),
        hop * (part.part - 1) + picoseconds_from_seconds(step / chunks * (n - 2 + chunks)));
  }

  double all_to_all_share(const PhysicalPart& part) const {
    const auto n = static_cast<double>(part.part);
    const bool even = part.part % 2 == 0;
    if (!part.wraparound) return (even ? n * n : n * n - 1) / (4 * n);
    if (!request.both_directions) return (n - 1) / 2;
    if (!even) return (n * n - 1) / (8 * n);
    return (request.ties == HalfwayTies::split ? n : n + 2) / 8;
  }

  Picoseconds all_to_all(double bytes) const {
    Picoseconds longest;
    std::int64_t hops = 0;
    double message = bytes / chips / speed.link.value();
    for (const PhysicalPart& part : request.parts) {
      const double link = all_to_all_share(part) * static_cast<double>(part.stride) * bytes;
      longest = std::max(longest, speed.hop_latency * part.stride +
                                      picoseconds_from_seconds(link / speed.link.value()));
      const bool shortest = part.wraparound && request.both_directions;
      hops += (shortest ? part.part / 2 : part.part - 1) * part.stride;
      if (shortest && part.part % 2 == 0 && request.ties == HalfwayTies::split) message /= 2;
    }
    return std::max(longest, speed.hop_latency * hops + picoseconds_from_seconds(message));
  }

  Picoseconds shift(double bytes) const {
    double busiest = 0;
    std::int64_t hops = 0;
    for (const PhysicalPart& part : request.parts) {
      const std::int64_t n = part.part;
      const std::int64_t forward = (request.shift % n + n) % n;
      const std::int64_t backward = n - forward;
      if (forward == 0) continue;
      const auto stride = static_cast<double>(part.stride);
      double over_link = 0;
      if (!part.wraparound) {
        // The first n - forward members go on, the others come back: both cross the middle.
        over_link = static_cast<double>(std::min(forward, backward));
        hops += std::max(forward, backward) * part.stride;
      } else if (!request.both_directions || forward < backward) {
        over_link = static_cast<double>(forward);
        hops += forward * part.stride;
      } else {
        const bool split = forward == backward && request.ties == HalfwayTies::split;
        over_link = static_cast<double>(backward) / (split ? 2 : 1);
        hops += backward * part.stride;
      }
      busiest = std::max(busiest, over_link * stride);
    }
    return speed.hop_latency * hops +
           picoseconds_from_seconds(busiest * bytes / speed.link.value());
  }

  Picoseconds broadcast(double bytes) const {
    Picoseconds total;
    for (const PhysicalPart& part : request.parts) {
      const double step =
          bytes * static_cast<double>(part.stride) / (directions(part) * speed.link.value());
      const auto chunks = static_cast<double>(request.chunks);
      total +=
          speed.hop_latency * ((part.part - 1) * part.stride) +
          picoseconds_from_seconds(step / chunks * (static_cast<double>(part.part) - 2 + chunks));
    }
    return total;
  }

  Picoseconds dcn(double bytes, std::int64_t steps) const {
    if (request.slices < 2) return {};
    return speed.dcn_latency * steps + picoseconds_from_seconds(bytes / speed.dcn.value());
  }
};

}  // namespace

Picoseconds closed_form(const CollectiveRequest& request, const NetworkSpeed& speed) {
  Theory theory{request, speed};
  for (const PhysicalPart& part : request.parts) theory.chips *= static_cast<double>(part.part);
  const auto bytes = static_cast<double>(request.bytes.value());
  const auto slices = static_cast<double>(request.slices);
  const double across = (slices - 1) / slices * bytes;
  const std::int64_t others = request.slices - 1;
  switch (request.op) {
    case CollectiveOp::all_gather:
    case CollectiveOp::reduce_scatter:
      return theory.rings(bytes) + theory.dcn(across / theory.chips, others);
    case CollectiveOp::all_reduce:
      return 2 * theory.rings(bytes) + theory.dcn(2 * across / theory.chips, 2 * others);
    case CollectiveOp::all_to_all:
      return theory.dcn(across, 1) +
             (request.parts.empty() ? Picoseconds() : theory.all_to_all(bytes));
    case CollectiveOp::collective_permute: return theory.shift(bytes);
    case CollectiveOp::broadcast: return theory.broadcast(bytes) + theory.dcn(bytes, others);
  }
  return {};
}

}  // namespace meshsim
