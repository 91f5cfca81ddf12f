#include "sim/network/collective.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "inputs/nearest.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::array<std::string_view, 6> op_names{"all-gather", "reduce-scatter",     "all-reduce",
                                                   "all-to-all", "collective-permute", "broadcast"};

}  // namespace

std::string_view name(CollectiveOp op) { return op_names[static_cast<std::size_t>(op)]; }

CollectiveOp collective_op(std::string_view name) {
  for (std::size_t i = 0; i < op_names.size(); ++i) {
    if (op_names[i] == name) return static_cast<CollectiveOp>(i);
  }
  const std::vector<std::string> known(op_names.begin(), op_names.end());
  const std::string near = did_you_mean(name, known);
  throw Error(ErrorKind::invalid_input, fmt::format("{} is not a collective", in_quotes(name)),
              near.empty() ? "all-gather, reduce-scatter, all-reduce, all-to-all, "
                             "collective-permute or broadcast"
                           : near);
}

double AxisLoad::most() const {
  double most = 0;
  for (const double bytes : positive) most = std::max(most, bytes);
  for (const double bytes : negative) most = std::max(most, bytes);
  return most;
}

Picoseconds total_time(const std::vector<Phase>& phases) {
  Picoseconds total;
  for (const Phase& phase : phases) total += phase.time * phase.repeat;
  return total;
}

std::vector<AxisLoad> total_loads(const std::vector<Phase>& phases) {
  std::vector<AxisLoad> total;
  for (const Phase& phase : phases) {
    for (const AxisLoad& load : phase.ici) {
      const auto found = std::find_if(total.begin(), total.end(),
                                      [&](const AxisLoad& one) { return one.axis == load.axis; });
      const bool known = found != total.end();
      AxisLoad& sum = known ? *found : total.emplace_back(load);
      const auto times = static_cast<double>(known ? phase.repeat : phase.repeat - 1);
      for (std::size_t i = 0; i < load.positive.size(); ++i) {
        sum.positive[i] += times * load.positive[i];
        sum.negative[i] += times * load.negative[i];
      }
    }
  }
  return total;
}

std::int64_t members(const CollectiveRequest& request) {
  std::int64_t count = request.slices;
  for (const PhysicalPart& part : request.parts) count *= part.part;
  return count;
}

double bus_factor(const CollectiveRequest& request) {
  const auto n = static_cast<double>(members(request));
  switch (request.op) {
    case CollectiveOp::all_gather:
    case CollectiveOp::reduce_scatter:
    case CollectiveOp::all_to_all: return (n - 1) / n;
    case CollectiveOp::all_reduce: return 2 * (n - 1) / n;
    case CollectiveOp::collective_permute:
    case CollectiveOp::broadcast: return 1;
  }
  return 1;
}

}  // namespace meshsim
