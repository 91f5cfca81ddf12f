#include "cost_models/exchange_price.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace meshsim {
namespace {

// Slots between the members of one ring or line, [n, n].
class Row {
 public:
  Row(std::int64_t members, const double* flows)
      : n_(members), flows_(flows), up_(static_cast<std::size_t>(n_)), down_(up_) {}

  // Slots on its busiest link; link i is between i and i + 1.
  double busiest(bool wraparound) {
    for (std::int64_t from = 0; from < n_; ++from) {
      for (std::int64_t to = 0; to < n_; ++to) {
        const double slots = flows_[from * n_ + to];
        if (from == to || slots == 0) continue;
        const std::int64_t above = to > from ? to - from : to - from + n_;
        if (!wraparound) {
          walk(to > from ? up_ : down_, std::min(from, to), std::abs(to - from), slots);
        } else if (2 * above == n_) {
          walk(up_, from, above, slots / 2);
          walk(down_, to, above, slots / 2);
        } else if (2 * above < n_) {
          walk(up_, from, above, slots);
        } else {
          walk(down_, to, n_ - above, slots);
        }
      }
    }
    return std::max(*std::max_element(up_.begin(), up_.end()),
                    *std::max_element(down_.begin(), down_.end()));
  }

 private:
  void walk(std::vector<double>& links, std::int64_t first, std::int64_t hops, double slots) const {
    for (std::int64_t link = first; hops > 0; --hops) {
      links[static_cast<std::size_t>(link)] += slots;
      if (++link == n_) link = 0;
    }
  }

  std::int64_t n_;
  const double* flows_;
  std::vector<double> up_, down_;
};

// The rows of part d: where the coordinates before d are the receiver's already and those after it
// still the sender's. A flow's place is the sum of one that depends on its sender and one that
// depends on its receiver.
class Rows {
 public:
  Rows(std::span<const PhysicalPart> parts, std::size_t d, std::int64_t ranks)
      : members_(parts[d].part), flows_(static_cast<std::size_t>(ranks * members_)) {
    std::int64_t inner = 1;
    for (std::size_t i = d + 1; i < parts.size(); ++i) inner *= parts[i].part;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const std::int64_t member = rank / inner % members_;
      const std::int64_t outer = rank / (inner * members_);
      from_.push_back(static_cast<std::size_t>((rank % inner * members_ + member) * members_));
      to_.push_back(static_cast<std::size_t>(outer * inner * members_ * members_ + member));
    }
  }

  void add(std::size_t from, std::size_t to, double slots) {
    flows_[from_[from] + to_[to]] += slots;
  }

  double busiest(bool wraparound) const {
    double most = 0;
    const auto size = static_cast<std::size_t>(members_ * members_);
    for (std::size_t row = 0; row < flows_.size(); row += size)
      most = std::max(most, Row(members_, flows_.data() + row).busiest(wraparound));
    return most;
  }

 private:
  std::int64_t members_;
  std::vector<std::size_t> from_, to_;  // by rank
  std::vector<double> flows_;           // row by row
};

double over_mean(const std::vector<double>& leaving, const std::vector<double>& entering) {
  const double sum = std::accumulate(leaving.begin(), leaving.end(), 0.0);
  if (sum == 0) return 0;
  const double most = std::max(*std::max_element(leaving.begin(), leaving.end()),
                               *std::max_element(entering.begin(), entering.end()));
  return most * static_cast<double>(leaving.size()) / sum;
}

// Of the busiest axis.
double on_links(const ResourceTimes& times) {
  return *std::max_element(times.begin() + ici_0, times.begin() + ici_3 + 1);
}

}  // namespace

ExchangeTraffic exchange_traffic(const CountMatrix& sent, std::span<const PhysicalPart> parts,
                                 std::int64_t slices) {
  const std::int64_t ranks = sent.rows;
  const std::int64_t in_slice = ranks / slices;
  std::int64_t places = 1;
  for (const PhysicalPart& part : parts) places *= part.part;
  if (places != in_slice) throw std::logic_error("ranks that are not places of the mesh");
  const auto count = static_cast<std::size_t>(ranks);
  const auto each = static_cast<std::size_t>(in_slice);
  std::vector<double> ends(count), leaving(count), entering(count);
  std::vector<Rows> rows;
  for (std::size_t d = 0; d < parts.size(); ++d) rows.emplace_back(parts, d, in_slice);
  for (std::size_t from = 0; from < count; ++from) {
    const std::span<const std::int64_t> slots_to = sent.row(static_cast<std::int64_t>(from));
    const std::size_t slice = from / each;
    for (std::size_t to = 0; to < count; ++to) {
      if (from == to) continue;
      const auto slots = static_cast<double>(slots_to[to]);
      ends[from] += slots;
      ends[to] += slots;
      if (to >= slice * each && to < (slice + 1) * each) {
        for (Rows& row : rows) row.add(from - slice * each, to - slice * each, slots);
      } else {
        leaving[from] += slots;
        entering[to] += slots;
      }
    }
  }
  ExchangeTraffic traffic;
  for (std::size_t d = 0; d < parts.size(); ++d)
    traffic.links.push_back(rows[d].busiest(parts[d].wraparound));
  traffic.ends = *std::max_element(ends.begin(), ends.end());
  traffic.outside = over_mean(leaving, entering);
  return traffic;
}

Price price(const Collective& work, const ExchangeTraffic& traffic, double slot_bytes,
            const Machine& machine) {
  const std::vector<PhysicalPart> parts = machine.parts(work.mesh_axes);
  const Price balanced = price(work, machine);
  ResourceTimes times{};
  times[hbm] = traffic.ends * slot_bytes / machine.hbm.value() * 1e12;
  times[dcn] = balanced.times[dcn] * traffic.outside;
  for (std::size_t d = 0; d < parts.size(); ++d) {
    if (parts[d].axis >= machine.physical_axes) continue;  // the devices of one chip
    const double slots = traffic.links[d] * static_cast<double>(parts[d].stride);
    times[ici_0 + parts[d].axis] += slots * slot_bytes / machine.ici_link.value() * 1e12;
  }
  // Whoever moves it is held for as long as its links are.
  const double equal = on_links(balanced.times);
  const double longer = equal > 0 ? on_links(times) / equal : 1;
  for (const Resource mover : {tensor_core, sparse_core})
    times[mover] = balanced.times[mover] * longer;
  return priced(times, balanced.latency);
}

}  // namespace meshsim
