// Lowering a collective to phases.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "sim/network/axis_profile.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

void check(const CollectiveRequest& request, const NetworkSpeed& speed) {
  const auto refuse = [](std::string what, std::string hint = {}) {
    throw Error(ErrorKind::invalid_input, std::move(what), std::move(hint));
  };
  if (request.bytes.value() < 0) refuse("a collective cannot move fewer than 0 bytes");
  if (request.chunks < 1) refuse("a collective has at least 1 chunk");
  if (!(speed.link.value() > 0) || !std::isfinite(speed.link.value()))
    refuse(fmt::format("the link bandwidth must be above 0 (got {} B/s)", speed.link.value()));
  if (request.slices > 1 && !(speed.dcn.value() > 0))
    refuse("a collective over several slices needs a DCN bandwidth above 0");
  if (members(request) < 2) refuse("a collective needs a group of at least 2 chips");
  for (const PhysicalPart& part : request.parts) {
    if (!part.wraparound && !request.both_directions) {
      refuse(
          fmt::format("axis {} is a line here: one direction does not reach everyone", part.axis),
          "use both directions, or wraparound");
    }
  }
}

// The phases of one collective, in order.
class Lowering {
 public:
  Lowering(const CollectiveRequest& request, const NetworkSpeed& speed, const Torus& torus)
      : request_(request), speed_(speed), torus_(torus), rotation_(request.parts) {
    for (const PhysicalPart& part : request.parts) chips_ *= part.part;
    const auto shape = [](const PhysicalPart& part) {
      return std::tuple(part.wraparound, part.part, part.stride);
    };
    std::stable_sort(
        rotation_.begin(), rotation_.end(),
        [&](const PhysicalPart& a, const PhysicalPart& b) { return shape(a) < shape(b); });
  }

  std::vector<Phase> run() {
    const auto bytes = static_cast<double>(request_.bytes.value());
    const auto slices = static_cast<double>(request_.slices);
    const double across = (slices - 1) / slices;  // of what a chip has, what is not for its slice
    const double shard = bytes / static_cast<double>(chips_);
    switch (request_.op) {
      case CollectiveOp::all_gather:
        dcn("gather across slices", shard * across, request_.slices - 1);
        rings("gather", bytes, false);
        break;
      case CollectiveOp::reduce_scatter:
        rings("reduce", bytes, true);
        dcn("reduce across slices", shard * across, request_.slices - 1);
        break;
      case CollectiveOp::all_reduce:
        rings("reduce", bytes, true);
        dcn("reduce and gather across slices", 2 * shard * across, 2 * (request_.slices - 1));
        rings("gather", bytes, false);
        break;
      case CollectiveOp::all_to_all:
        dcn("exchange across slices", bytes * across, 1);
        all_to_all(bytes);
        break;
      case CollectiveOp::collective_permute: shift(bytes); break;
      case CollectiveOp::broadcast:
        dcn("copy across slices", bytes, request_.slices - 1);
        broadcast(bytes);
        break;
    }
    return std::move(phases_);
  }

 private:
  std::int64_t size(const PhysicalPart& part) const { return torus_.shape()[part.axis]; }

  void dcn(const char* name, double bytes, std::int64_t steps) {
    if (request_.slices < 2) return;
    Phase phase;
    phase.name = name;
    phase.dcn_bytes = bytes;
    phase.steps = steps;
    phase.time = speed_.dcn_latency * steps + picoseconds_from_seconds(bytes / speed_.dcn.value());
    phases_.push_back(std::move(phase));
  }

  void push(Phase phase) { phases_.push_back(timed(std::move(phase))); }

  Phase timed(Phase phase) const {
    double most = 0;
    for (const AxisLoad& load : phase.ici) most = std::max(most, load.most());
    const double link = speed_.link.value();
    const double chunk = most / (static_cast<double>(phase.rounds * phase.chunks) * link);
    const Picoseconds step = speed_.hop_latency * phase.hops;
    const auto total = static_cast<double>(phase.steps + phase.chunks - 1);
    const Picoseconds never_waits = step + picoseconds_from_seconds(most / link);
    const Picoseconds every_step = step * phase.steps + picoseconds_from_seconds(chunk * total);
    phase.time = std::max({never_waits, every_step, phase.least});
    return phase;
  }

  // An all-gather of `bytes`, or a reduce-scatter, which is one backwards.
  void rings(const char* name, double bytes, bool mirrored) {
    const auto axes = static_cast<std::int64_t>(request_.parts.size());
    if (axes == 0) return;
    if (axes == 1) {
      const PhysicalPart& part = request_.parts.front();
      Phase phase = ring_phase(name, part);
      phase.chunks = request_.chunks;
      phase.ici.push_back(on_axis(gather_profile(part, request_.both_directions, mirrored), part,
                                  size(part), bytes / static_cast<double>(chips_)));
      push(std::move(phase));
      return;
    }
    // With few chunks the stages wait for each other, and equal parts may wait less.
    const auto equal = std::vector<double>(rotation_.size(), 1.0 / static_cast<double>(axes));
    std::vector<AxisLoad> units;  // of one shard
    for (const PhysicalPart& part : rotation_) {
      units.push_back(
          on_axis(gather_profile(part, request_.both_directions, mirrored), part, size(part), 1));
    }
    std::vector<Phase> best = in_stages(name, bytes, cut(units), units, mirrored);
    std::vector<Phase> other = in_stages(name, bytes, equal, units, mirrored);
    if (total_time(other) < total_time(best)) best = std::move(other);
    phases_.insert(phases_.end(), best.begin(), best.end());
  }

  // Chunk c is in stage s in phase c + s; between filling and draining all phases are alike.
  std::vector<Phase> in_stages(const char* name, double bytes, const std::vector<double>& shares,
                               const std::vector<AxisLoad>& units, bool mirrored) const {
    const auto axes = static_cast<std::int64_t>(rotation_.size());
    const std::int64_t chunks = request_.chunks;
    std::vector<Phase> all;
    for (std::int64_t t = 0; t < chunks + axes - 1; ++t) {
      const std::int64_t first = std::max<std::int64_t>(0, t - chunks + 1);
      const std::int64_t last = std::min(axes - 1, t);
      Phase phase =
          stages(name, bytes / static_cast<double>(chunks), shares, units, first, last, mirrored);
      if (first == 0 && last == axes - 1) {
        phase.repeat = chunks - axes + 1;
        t += phase.repeat - 1;
      }
      all.push_back(timed(std::move(phase)));
    }
    return all;
  }

  // How B is cut into parts so that all axes carry their bytes in the same time: the solution of
  // sum_p load(axis, p) x_p = 1, scaled to sum_p x_p = 1. The axis that a part visits last carries
  // most of it, so the system is well-conditioned; parts would be equal on equal axes.
  std::vector<double> cut(const std::vector<AxisLoad>& units) const {
    const std::size_t axes = rotation_.size();
    std::vector<std::vector<double>> rows(axes, std::vector<double>(axes + 1, 1.0));
    for (std::size_t p = 0; p < axes; ++p) {
      double gathered = 1;
      for (std::size_t visit = 0; visit < axes; ++visit) {
        const std::size_t axis = (p + visit) % axes;
        const PhysicalPart& part = rotation_[axis];
        rows[axis][p] = gathered * units[axis].most();
        gathered *= static_cast<double>(part.part);
      }
    }
    // Gauss and Jordan, with the largest pivot.
    for (std::size_t column = 0; column < axes; ++column) {
      std::size_t pivot = column;
      for (std::size_t row = column; row < axes; ++row) {
        if (std::abs(rows[row][column]) > std::abs(rows[pivot][column])) pivot = row;
      }
      std::swap(rows[column], rows[pivot]);
      if (rows[column][column] == 0)
        return std::vector<double>(axes, 1.0 / static_cast<double>(axes));
      for (std::size_t row = 0; row < axes; ++row) {
        if (row == column) continue;
        const double factor = rows[row][column] / rows[column][column];
        for (std::size_t i = column; i <= axes; ++i) rows[row][i] -= factor * rows[column][i];
      }
    }
    std::vector<double> shares;
    double sum = 0;
    for (std::size_t p = 0; p < axes; ++p) {
      shares.push_back(std::max(0.0, rows[p][axes] / rows[p][p]));
      sum += shares.back();
    }
    for (double& share : shares) share /= sum;
    return shares;
  }

  // All parts of one chunk each in the stages `first` to `last`.
  Phase stages(const char* name, double chunk, const std::vector<double>& shares,
               const std::vector<AxisLoad>& units, std::int64_t first, std::int64_t last,
               bool mirrored) const {
    const auto axes = static_cast<std::int64_t>(rotation_.size());
    Phase phase;
    phase.name = name;
    phase.steps = 0;
    for (const PhysicalPart& part : rotation_) {
      const auto n = static_cast<std::size_t>(size(part));
      phase.ici.push_back({part.axis, std::vector<double>(n), std::vector<double>(n), false});
    }
    std::int64_t longest = 0;  // hops in sequence
    for (std::int64_t first_axis = 0; first_axis < axes; ++first_axis) {
      // A chip's shard of the part.
      double gathered =
          chunk * shares[static_cast<std::size_t>(first_axis)] / static_cast<double>(chips_);
      for (std::int64_t visit = 0; visit < axes; ++visit) {
        const auto axis = static_cast<std::size_t>((first_axis + visit) % axes);
        const PhysicalPart& part = rotation_[axis];
        const std::int64_t stage = mirrored ? axes - 1 - visit : visit;
        if (stage >= first && stage <= last) {
          const AxisLoad& unit = units[axis];
          for (std::size_t i = 0; i < unit.positive.size(); ++i) {
            phase.ici[axis].positive[i] += gathered * unit.positive[i];
            phase.ici[axis].negative[i] += gathered * unit.negative[i];
          }
          longest = std::max(longest, (part.part - 1) * part.stride);
        }
        gathered *= static_cast<double>(part.part);
      }
    }
    phase.steps = longest;
    phase.rounds = longest;
    return phase;
  }

  static Phase ring_phase(const char* name, const PhysicalPart& part) {
    Phase phase;
    phase.name = name;
    phase.steps = part.part - 1;
    phase.rounds = part.part - 1;
    phase.hops = part.stride;
    return phase;
  }

  void all_to_all(double bytes) {
    if (request_.parts.empty()) return;
    Phase phase;
    phase.name = "all-to-all";
    std::int64_t farthest = 0;
    double message = bytes / static_cast<double>(chips_);
    // The busiest axis sets the time, and of its flows those to the next member arrive first.
    double most = -1;
    for (const PhysicalPart& part : request_.parts) {
      phase.ici.push_back(on_axis(all_to_all_profile(part, request_.both_directions, request_.ties),
                                  part, size(part), bytes / static_cast<double>(part.part)));
      if (phase.ici.back().most() > most) phase.hops = part.stride;
      most = std::max(most, phase.ici.back().most());
      farthest += farthest_member(part) * part.stride;
      if (part.wraparound && part.part % 2 == 0 && request_.both_directions &&
          request_.ties == HalfwayTies::split)
        message /= 2;
    }
    phase.least =
        speed_.hop_latency * farthest + picoseconds_from_seconds(message / speed_.link.value());
    push(std::move(phase));
  }

  std::int64_t farthest_member(const PhysicalPart& part) const {
    return part.wraparound && request_.both_directions ? part.part / 2 : part.part - 1;
  }

  void shift(double bytes) {
    Phase phase;
    phase.name = "permute";
    phase.hops = 0;
    for (const PhysicalPart& part : request_.parts) {
      const AxisProfile profile =
          shift_profile(part, request_.both_directions, request_.ties, request_.shift);
      phase.ici.push_back(on_axis(profile, part, size(part), bytes));
      std::int64_t longest = 0;
      for (std::int64_t from = 0; from < part.part; ++from) {
        const std::int64_t to = ((from + request_.shift) % part.part + part.part) % part.part;
        const AxisWay way = axis_way(part, request_.both_directions, request_.ties, from, to);
        longest = std::max({longest, way.positive_hops, way.negative_hops});
      }
      phase.hops += longest * part.stride;
    }
    push(std::move(phase));
  }

  void broadcast(double bytes) {
    for (const PhysicalPart& part : request_.parts) {
      Phase phase = ring_phase("broadcast", part);
      phase.rounds = 1;
      phase.chunks = request_.chunks;
      phase.ici.push_back(
          on_axis(broadcast_profile(part, request_.both_directions), part, size(part), bytes));
      phase.ici.back().rooted = true;
      push(std::move(phase));
    }
  }

  const CollectiveRequest& request_;
  const NetworkSpeed& speed_;
  const Torus& torus_;
  // The order in which ring algorithms visit axes, whatever the axes are called.
  std::vector<PhysicalPart> rotation_;
  std::int64_t chips_ = 1;  // of a group, in one slice
  std::vector<Phase> phases_;
};

}  // namespace

std::vector<Phase> phases(const CollectiveRequest& request, const NetworkSpeed& speed,
                          const Torus& torus) {
  check(request, speed);
  return Lowering(request, speed, torus).run();
}

}  // namespace meshsim
