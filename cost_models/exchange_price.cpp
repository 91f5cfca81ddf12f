#include "cost_models/exchange_price.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace meshsim {
namespace {

// Slots between the members of one ring or line, [n, n].
class Row {
 public:
  Row(std::int64_t members, const std::int64_t* flows)
      : n_(members), flows_(flows), up_(static_cast<std::size_t>(n_)), down_(up_) {}

  // Slots on its busiest link; link i is between i and i + 1.
  double busiest(bool wraparound) {
    for (std::int64_t from = 0; from < n_; ++from) {
      for (std::int64_t to = 0; to < n_; ++to) {
        const auto slots = static_cast<double>(flows_[from * n_ + to]);
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
  const std::int64_t* flows_;
  std::vector<double> up_, down_;
};

// The rows of part d: where the coordinates before d are the receiver's already and those after it
// still the sender's. Receivers that differ only in coordinates after d have one place in a row.
class Rows {
 public:
  Rows(std::span<const PhysicalPart> parts, std::size_t d, std::int64_t ranks)
      : members_(parts[d].part), flows_(static_cast<std::size_t>(ranks * members_)) {
    for (std::size_t i = d + 1; i < parts.size(); ++i) inner_ *= parts[i].part;
  }

  // What rank `from` sends; `slots` by the receiver's coordinates up to d, which become sums over
  // the coordinate d.
  void add(std::int64_t from, std::vector<std::int64_t>& slots) {
    const std::int64_t sender = from % (inner_ * members_);
    const std::int64_t place = (sender % inner_ * members_ + sender / inner_) * members_;
    const std::int64_t outer = std::ssize(slots) / members_;
    for (std::int64_t o = 0; o < outer; ++o) {
      const std::int64_t* sent = slots.data() + o * members_;
      std::int64_t* row = flows_.data() + o * inner_ * members_ * members_ + place;
      std::int64_t sum = 0;
      for (std::int64_t member = 0; member < members_; ++member) {
        row[member] += sent[member];
        sum += sent[member];
      }
      slots[static_cast<std::size_t>(o)] = sum;
    }
    slots.resize(static_cast<std::size_t>(outer));
  }

  double busiest(bool wraparound) const {
    double most = 0;
    const auto size = static_cast<std::size_t>(members_ * members_);
    for (std::size_t row = 0; row < flows_.size(); row += size)
      most = std::max(most, Row(members_, flows_.data() + row).busiest(wraparound));
    return most;
  }

 private:
  std::int64_t members_, inner_ = 1;
  std::vector<std::int64_t> flows_;  // row by row
};

double over_mean(const std::vector<std::int64_t>& leaving,
                 const std::vector<std::int64_t>& entering) {
  const std::int64_t sum = std::accumulate(leaving.begin(), leaving.end(), std::int64_t{0});
  if (sum == 0) return 0;
  const std::int64_t most = std::max(*std::max_element(leaving.begin(), leaving.end()),
                                     *std::max_element(entering.begin(), entering.end()));
  return static_cast<double>(most) * static_cast<double>(leaving.size()) / static_cast<double>(sum);
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
  std::vector<std::int64_t> ends(count), leaving(count), entering(count), inside;
  std::vector<Rows> rows;
  for (std::size_t d = 0; d < parts.size(); ++d) rows.emplace_back(parts, d, in_slice);
  for (std::size_t from = 0; from < count; ++from) {
    const std::span<const std::int64_t> slots_to = sent.row(static_cast<std::int64_t>(from));
    for (std::size_t to = 0; to < count; ++to) ends[to] += slots_to[to];
    const std::int64_t all = std::accumulate(slots_to.begin(), slots_to.end(), std::int64_t{0});
    ends[from] += all - 2 * slots_to[from];
    const std::size_t slice = from / each;
    const auto own = slots_to.subspan(slice * each, each);
    inside.assign(own.begin(), own.end());
    if (slices > 1) {
      leaving[from] = all - std::accumulate(own.begin(), own.end(), std::int64_t{0});
      for (std::size_t to = 0; to < count; ++to)
        if (to / each != slice) entering[to] += slots_to[to];
    }
    // What a rank keeps stays where it is in every row.
    for (std::size_t d = parts.size(); d-- > 0;)
      rows[d].add(static_cast<std::int64_t>(from - slice * each), inside);
  }
  ExchangeTraffic traffic;
  for (std::size_t d = 0; d < parts.size(); ++d)
    traffic.links.push_back(rows[d].busiest(parts[d].wraparound));
  traffic.ends = static_cast<double>(*std::max_element(ends.begin(), ends.end()));
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
