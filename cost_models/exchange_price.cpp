#include "cost_models/exchange_price.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace meshsim {
namespace {

// Slots between the members of one ring or line, [n, n].
class Row {
 public:
  explicit Row(std::int64_t members) : n_(members), flows_(static_cast<std::size_t>(n_ * n_)) {}

  void add(std::int64_t from, std::int64_t to, double slots) {
    flows_[static_cast<std::size_t>(from * n_ + to)] += slots;
  }

  // Slots on its busiest link.
  double busiest(bool wraparound) const {
    std::vector<double> up(static_cast<std::size_t>(n_)), down(up);  // link i: between i and i + 1
    for (std::int64_t from = 0; from < n_; ++from) {
      for (std::int64_t to = 0; to < n_; ++to) {
        const double slots = flows_[static_cast<std::size_t>(from * n_ + to)];
        if (from == to || slots == 0) continue;
        const std::int64_t above = ((to - from) % n_ + n_) % n_;
        if (!wraparound) {
          walk(to > from ? up : down, std::min(from, to), std::abs(to - from), slots);
        } else if (2 * above == n_) {
          walk(up, from, above, slots / 2);
          walk(down, to, above, slots / 2);
        } else if (2 * above < n_) {
          walk(up, from, above, slots);
        } else {
          walk(down, to, n_ - above, slots);
        }
      }
    }
    return std::max(*std::max_element(up.begin(), up.end()),
                    *std::max_element(down.begin(), down.end()));
  }

 private:
  void walk(std::vector<double>& links, std::int64_t first, std::int64_t hops, double slots) const {
    for (std::int64_t h = 0; h < hops; ++h)
      links[static_cast<std::size_t>((first + h) % n_)] += slots;
  }

  std::int64_t n_;
  std::vector<double> flows_;
};

// The rows of part d: where the coordinates before d are the receiver's already and those after it
// still the sender's.
class Rows {
 public:
  Rows(std::span<const PhysicalPart> parts, std::size_t d) : members_(parts[d].part) {
    for (std::size_t i = d + 1; i < parts.size(); ++i) inner_ *= parts[i].part;
    std::int64_t all = inner_;
    for (std::size_t i = 0; i < d; ++i) all *= parts[i].part;
    rows_.assign(static_cast<std::size_t>(all), Row(members_));
  }

  void add(std::int64_t from, std::int64_t to, double slots) {
    const std::int64_t outer = to / (inner_ * members_);
    rows_[static_cast<std::size_t>(outer * inner_ + from % inner_)].add(
        from / inner_ % members_, to / inner_ % members_, slots);
  }

  double busiest(bool wraparound) const {
    double most = 0;
    for (const Row& row : rows_) most = std::max(most, row.busiest(wraparound));
    return most;
  }

 private:
  std::int64_t members_;
  std::int64_t inner_ = 1;
  std::vector<Row> rows_;
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
  std::vector<double> ends(count), leaving(count), entering(count);
  std::vector<Rows> rows;
  for (std::size_t d = 0; d < parts.size(); ++d) rows.emplace_back(parts, d);
  for (std::int64_t from = 0; from < ranks; ++from) {
    for (std::int64_t to = 0; to < ranks; ++to) {
      if (from == to) continue;
      const auto slots = static_cast<double>(sent.at(from, to));
      const auto i = static_cast<std::size_t>(from);
      const auto j = static_cast<std::size_t>(to);
      ends[i] += slots;
      ends[j] += slots;
      if (from / in_slice != to / in_slice) {
        leaving[i] += slots;
        entering[j] += slots;
        continue;
      }
      for (Rows& row : rows) row.add(from % in_slice, to % in_slice, slots);
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
