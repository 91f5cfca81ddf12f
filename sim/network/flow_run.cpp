#include "sim/network/flow_run.hpp"

#include <algorithm>

namespace meshsim {
namespace {

constexpr Picoseconds unset{-1};

// No sharing is faster than this.
Picoseconds bound(const Torus& torus, const std::vector<RoutedFlow>& flows,
                  const NetworkSpeed& speed) {
  std::vector<double> load(static_cast<std::size_t>(torus.links()));
  std::vector<Picoseconds> first(load.size(), unset);
  Picoseconds longest;
  for (const RoutedFlow& flow : flows) {
    for (const Path& path : flow.paths) {
      const double bytes = flow.account.bytes * path.weight;
      const Picoseconds arrival =
          flow.account.start + speed.hop_latency * static_cast<std::int64_t>(path.links.size());
      longest = std::max(longest, arrival);
      if (bytes == 0 || path.links.empty()) continue;
      longest = std::max(longest, arrival + picoseconds_from_seconds(bytes / speed.link.value()));
      for (const LinkId link : path.links) {
        const auto at = static_cast<std::size_t>(link);
        load[at] += bytes;
        if (first[at] == unset || arrival < first[at]) first[at] = arrival;
      }
    }
  }
  for (std::size_t link = 0; link < load.size(); ++link) {
    if (first[link] == unset) continue;
    longest =
        std::max(longest, first[link] + picoseconds_from_seconds(load[link] / speed.link.value()));
  }
  return longest;
}

}  // namespace

std::vector<LinkAccount> link_accounts(const Torus& torus) {
  std::vector<LinkAccount> all;
  all.reserve(static_cast<std::size_t>(torus.links()));
  for (LinkId id = 0; id < torus.links(); ++id) {
    const Link& link = torus.link(id);
    all.push_back({link.from, link.to, link.axis, link.direction, 0, {}, {}});
  }
  return all;
}

void find_bottleneck(NetworkRun& run) {
  const auto most = std::max_element(
      run.links.begin(), run.links.end(),
      [](const LinkAccount& a, const LinkAccount& b) { return a.bytes < b.bytes; });
  run.bottleneck = static_cast<std::size_t>(most - run.links.begin());
}

void keep_largest(std::vector<FlowAccount>& flows) {
  std::stable_sort(flows.begin(), flows.end(),
                   [](const FlowAccount& a, const FlowAccount& b) { return a.bytes > b.bytes; });
  if (flows.size() > most_named) flows.resize(most_named);
}

NetworkRun run_flows(const Torus& torus, const std::vector<RoutedFlow>& flows,
                     const NetworkSpeed& speed, FlowOptions options) {
  NetworkRun run;
  run.way = NetworkRun::Way::flows;
  run.closed_form = bound(torus, flows, speed);
  FlowSet set;
  std::vector<std::size_t> whole;  // the flow that a part belongs to
  std::vector<ResourceId> route;
  for (std::size_t i = 0; i < flows.size(); ++i) {
    for (const Path& path : flows[i].paths) {
      route.assign(path.links.begin(), path.links.end());
      const Picoseconds way = speed.hop_latency * static_cast<std::int64_t>(route.size());
      set.add(flows[i].account.bytes * path.weight, flows[i].account.start + way, route,
              flows[i].collective);
      whole.push_back(i);
    }
  }
  options.window =
      Picoseconds(ceil_div(std::max<std::int64_t>(run.closed_form.value(), 1), windows_of_a_run));
  run.window = options.window;
  const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()), speed.link);
  const FlowSimulation simulated = simulate_flows(capacity, set, options);
  run.time = simulated.makespan;
  run.events = simulated.events;
  for (const RoutedFlow& flow : flows) run.flows.push_back(flow.account);
  for (std::size_t part = 0; part < whole.size(); ++part) {
    Picoseconds& finish = run.flows[whole[part]].finish;
    finish = std::max(finish, simulated.finish[part]);
  }
  run.links = link_accounts(torus);
  for (std::size_t link = 0; link < run.links.size(); ++link) {
    run.links[link].bytes = simulated.links[link].bytes;
    run.links[link].busy = simulated.links[link].busy;
    if (set.collectives() == 1) continue;
    for (const std::vector<double>& bytes : simulated.bytes_by_collective)
      run.links[link].bytes_by_collective.push_back(bytes[link]);
  }
  find_bottleneck(run);
  if (run.links.empty()) return run;
  for (const std::vector<double>& window : simulated.bytes_by_window)
    run.bottleneck_bytes_by_window.push_back(window[run.bottleneck]);
  for (std::size_t i = 0; i < flows.size(); ++i) {
    double over = 0;
    for (const Path& path : flows[i].paths) {
      for (const LinkId link : path.links) {
        if (static_cast<std::size_t>(link) == run.bottleneck)
          over += flows[i].account.bytes * path.weight;
      }
    }
    if (over == 0) continue;
    run.over_bottleneck.push_back(run.flows[i]);
    run.over_bottleneck.back().bytes = over;
  }
  keep_largest(run.over_bottleneck);
  return run;
}

}  // namespace meshsim
