#include "sim/network/link_ledger.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }

}  // namespace

LinkLedger::LinkLedger(std::size_t links, const FlowSet& flows)
    : flows_(flows),
      links_(links),
      by_collective_(index(flows.collectives()), std::vector<double>(links)),
      busy_since_(links),
      moving_over_(links),
      is_moving_(flows.size()),
      moved_(links),
      told_(links) {}

void LinkLedger::begin(FlowId flow, double now) {
  is_moving_[index(flow)] = true;
  for (const ResourceId link : flows_.links(flow)) {
    LinkUse& use = links_[index(link)];
    use.bytes += flows_.bytes(flow);
    ++use.flows;
    by_collective_[index(flows_.collective(flow))][index(link)] += flows_.bytes(flow);
    if (moving_over_[index(link)]++ == 0) busy_since_[index(link)] = now;
  }
}

void LinkLedger::end(FlowId flow, double now) {
  is_moving_[index(flow)] = false;
  for (const ResourceId link : flows_.links(flow)) {
    moved_[index(link)] += flows_.bytes(flow);
    if (--moving_over_[index(link)] == 0)
      links_[index(link)].busy += Picoseconds(std::llround(now - busy_since_[index(link)]));
  }
}

std::vector<FlowId> LinkLedger::moving() const {
  std::vector<FlowId> all;
  for (std::size_t flow = 0; flow < is_moving_.size(); ++flow) {
    if (is_moving_[flow]) all.push_back(static_cast<FlowId>(flow));
  }
  return all;
}

void LinkLedger::add_window(std::vector<double> total) {
  std::vector<double> window = total;
  for (std::size_t link = 0; link < window.size(); ++link)
    window[link] = std::max(0.0, window[link] - told_[link]);
  told_ = std::move(total);
  by_window_.push_back(std::move(window));
}

void LinkLedger::settle(FlowSimulation& result) {
  result.links = std::move(links_);
  result.bytes_by_collective = std::move(by_collective_);
  result.bytes_by_window = std::move(by_window_);
}

}  // namespace meshsim
