#include "tests/simgrid/simgrid_flows.hpp"

#include <array>
#include <cstdint>
#include <simgrid/s4u.hpp>
#include <string>
#include <utility>

namespace meshsim::testing {

namespace sg4 = simgrid::s4u;

std::vector<double> simgrid_finish(std::span<const BytesPerSecond> capacity, const FlowSet& flows) {
  std::array<std::string, 10> words{"flows",
                                    "--cfg=network/model:CM02",
                                    "--cfg=network/crosstraffic:0",
                                    "--cfg=network/TCP-gamma:0",
                                    "--cfg=network/latency-factor:1",
                                    "--cfg=network/bandwidth-factor:1",
                                    "--cfg=network/weight-S:0",
                                    "--cfg=surf/precision:1e-15",
                                    "--cfg=contexts/stack-size:64",
                                    "--log=root.thresh:critical"};
  std::array<char*, 11> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  int count = static_cast<int>(words.size());
  sg4::Engine engine(&count, arguments.data());

  sg4::NetZone* zone = sg4::create_full_zone("torus");
  std::vector<sg4::Link*> links;
  for (std::size_t link = 0; link < capacity.size(); ++link) {
    links.push_back(zone->create_link("link" + std::to_string(link), capacity[link].value())
                        ->set_latency(0)
                        ->set_sharing_policy(sg4::Link::SharingPolicy::SHARED)
                        ->seal());
  }
  std::vector<double> finish(flows.size(), 0);
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    const auto id = static_cast<FlowId>(flow);
    finish[flow] = seconds(flows.start(id));
    if (flows.links(id).empty()) continue;
    sg4::Host* from = zone->create_host("from" + std::to_string(flow), 1e9)->seal();
    sg4::Host* to = zone->create_host("to" + std::to_string(flow), 1e9)->seal();
    std::vector<sg4::LinkInRoute> route;
    for (const ResourceId link : flows.links(id))
      route.emplace_back(links[static_cast<std::size_t>(link)]);
    zone->add_route(from->get_netpoint(), to->get_netpoint(), nullptr, nullptr, route, false);
    const double start = finish[flow];
    const auto bytes = static_cast<std::uint64_t>(flows.bytes(id));
    sg4::Actor::create("flow", from, [from, to, start, bytes, &finish, flow] {
      sg4::this_actor::sleep_until(start);
      sg4::Comm::sendto(from, to, bytes);
      finish[flow] = sg4::Engine::get_clock();
    });
  }
  zone->seal();
  engine.run();
  return finish;
}

}  // namespace meshsim::testing
