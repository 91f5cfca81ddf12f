// Closed forms of collectives on parts of torus axes.
//
//   w          bandwidth of a link in one direction
//   n_d, s_d   members and stride of the group on axis d; strided groups share their links with
//              s_d - 1 others
//   b_d        what a chip can send along axis d: w / s_d on a line and one way around a ring,
//              2 w / s_d both ways around it (plans/software.hpp: which runs do)
//
//   all-gather, reduce-scatter   sent / sum_d b_d: every axis carries its share, all at once
//   all-reduce                   a reduce-scatter and an all-gather
//   all-to-all                   max_d load_d / w: dimension-ordered, all axes at once. With a
//                                payload D per chip, its own share included, the busiest link of
//                                axis d carries
//                                  ring   D floor(n^2 / 4) / (2 n) s_d, half-way ties split
//                                  line   D floor(n / 2) ceil(n / 2) / n s_d
//   permute                      each device of the group sends to the next, along its last axis
//                                but for the turns: payload s_d / w on that axis
//   latency                      hops of the longest way, summed over axes:
//                                  both ways around a ring   floor(n / 2) s_d
//                                  one way, and on a line    (n - 1) s_d
//                                of a permute, in each of its rounds:
//                                  ring   s_d                   line   (n - 1) s_d
//
// Over several slices a collective is hierarchical: what one device exchanges with its peers in the
// other slices crosses DCN, the rest is a collective of its own slice; the two are pipelined. DCN
// latency is not modelled.
//
// The TensorCore beside the links: a transfer that it runs itself holds it for as long as the links
// need, one that the SparseCores run for `offloaded_transfer` of that, and holds the SparseCores.
//
// HBM beside the links: a gathered byte is written once and read once to be forwarded; a reduced
// one is read, added to and written on the way.
#include <algorithm>

#include "cost_models/price.hpp"

namespace meshsim {
namespace {

Mover mover(CollectiveKind kind, const Software& software) {
  switch (kind) {
    case CollectiveKind::all_gather: return software.all_gather;
    case CollectiveKind::reduce_scatter: return software.reduce_scatter;
    case CollectiveKind::all_reduce: return software.all_reduce;
    case CollectiveKind::all_to_all:
    case CollectiveKind::permute: break;
  }
  return Mover::stepwise;
}

bool goes_both_ways(CollectiveKind kind, const Software& software) {
  return kind == CollectiveKind::all_to_all || mover(kind, software) == Mover::fused ||
         software.overlap == Overlap::ideal;
}

// Of the TensorCore, for as long as the links are busy.
double core_share(Mover mover, const Machine& machine) {
  switch (machine.software.overlap) {
    case Overlap::none: return 1;
    case Overlap::ideal: return 0;
    case Overlap::xla: break;
  }
  return mover == Mover::sparse_core ? machine.offloaded_transfer : 1;
}

std::int64_t hops(CollectiveKind kind, const PhysicalPart& part, bool both_ways) {
  if (kind == CollectiveKind::permute) return (part.wraparound ? 1 : part.part - 1) * part.stride;
  return (part.wraparound && both_ways ? part.part / 2 : part.part - 1) * part.stride;
}

// In units of one link.
double sending_links(const PhysicalPart& part, bool both_ways) {
  return (part.wraparound && both_ways ? 2.0 : 1.0) / static_cast<double>(part.stride);
}

// The busiest link's share of one chip's all-to-all payload.
double all_to_all_load(const PhysicalPart& part) {
  const auto n = static_cast<double>(part.part);
  const auto stride = static_cast<double>(part.stride);
  const std::int64_t half = part.part / 2;
  const auto pairs = static_cast<double>(half * (part.part - half));  // across the middle
  return pairs / (part.wraparound ? 2 * n : n) * stride;
}

double hbm_bytes_per_sent_byte(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_gather:
    case CollectiveKind::all_to_all:
    case CollectiveKind::permute: return 2;
    case CollectiveKind::reduce_scatter: return 3;
    case CollectiveKind::all_reduce: return 2.5;  // half of its bytes reduce, half gather
  }
  return 2;
}

// What crosses DCN when the group spans slices: each device exchanges its ICI share with its peers
// in the others.
double dcn_bytes(const Collective& work, std::int64_t slices) {
  const std::int64_t in_slice = work.group / slices;
  const double share = static_cast<double>(work.payload.value()) / static_cast<double>(in_slice);
  const double exchanged = share * static_cast<double>(slices - 1) / static_cast<double>(slices);
  // The last device of a slice passes all of it on.
  if (work.kind == CollectiveKind::permute) return static_cast<double>(work.payload.value());
  return work.kind == CollectiveKind::all_reduce ? 2 * exchanged : exchanged;
}

// What one device sends inside its slice.
double ici_bytes(const Collective& work, std::int64_t slices) {
  Collective inside = work;
  inside.group = work.group / slices;
  return static_cast<double>(inside.sent().value());
}

}  // namespace

Price price(const Collective& work, const Machine& machine) {
  const std::vector<PhysicalPart> parts = machine.parts(work.mesh_axes);
  const std::int64_t slices = machine.slices(work.mesh_axes);
  const double link = machine.ici_link.value();
  const double sent = ici_bytes(work, slices);
  ResourceTimes times{};
  times[hbm] = static_cast<double>(work.sent().value()) * hbm_bytes_per_sent_byte(work.kind) /
               machine.hbm.value() * 1e12;
  if (slices > 1) times[dcn] = dcn_bytes(work, slices) / machine.dcn.value() * 1e12;
  const bool both_ways = goes_both_ways(work.kind, machine.software);
  double links = 0;
  std::int64_t way = 0;
  for (const PhysicalPart& part : parts) {
    links += sending_links(part, both_ways);
    way += hops(work.kind, part, both_ways);
  }
  if (work.kind == CollectiveKind::all_reduce) way *= 2;
  if (work.kind == CollectiveKind::permute) way *= work.rounds;
  const auto on_torus = [&](const PhysicalPart& part) { return part.axis < machine.physical_axes; };
  const auto last = std::find_if(parts.rbegin(), parts.rend(), on_torus);
  for (const PhysicalPart& part : parts) {
    if (!on_torus(part)) continue;  // the devices of one chip: no ICI between them
    const double bytes = work.kind == CollectiveKind::all_to_all
                             ? static_cast<double>(work.payload.value()) * all_to_all_load(part)
                         : work.kind == CollectiveKind::permute
                             ? (&part == &*last ? sent * static_cast<double>(part.stride) : 0)
                             : sent / links;
    times[ici_0 + part.axis] += bytes / link * 1e12;
  }
  const double on_links = *std::max_element(times.begin() + ici_0, times.begin() + ici_3 + 1);
  const Mover moved_by = mover(work.kind, machine.software);
  times[tensor_core] = core_share(moved_by, machine) * on_links;
  if (moved_by == Mover::sparse_core) times[sparse_core] = on_links;
  return priced(times, machine.hop_latency * way);
}

}  // namespace meshsim
