// The speed of the network: exact flows, batched ends, loads, uniform collectives, the event queue.
// Every line states its budget and how many times over it is met; where SimGrid is installed it
// solves the smallest case in the same run. Give "--simgrid-128" to let it solve the next one too,
// which takes it minutes.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <string_view>
#include <vector>

#include "sim/network/byte_matrix.hpp"
#include "sim/network/collective.hpp"
#include "sim/network/event_queue.hpp"
#include "sim/network/flow_simulation.hpp"
#include "topologies/torus.hpp"
#ifdef MESHSIM_HAVE_SIMGRID
#include "tests/simgrid/simgrid_flows.hpp"
#endif

namespace {

using namespace meshsim;

const NetworkSpeed v5p_links{BytesPerSecond(90e9), Picoseconds(1'000'000), {}, {}};

template <class Work>
double time_of(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void line(const std::string& what, double took, double budget) {
  fmt::print("{:<62} {:>12.6f} s  budget {:>9.6f} s  {:>8.1f} x\n", what, took, budget,
             budget / took);
}

Torus torus_of(const std::vector<std::int64_t>& shape) {
  return Torus(shape, std::vector<bool>(shape.size(), true));
}

// Popular destinations (1 to 4 times the traffic) and sizes that all differ (0.5 to 1.5 times).
ByteMatrix skewed(std::int64_t chips) {
  std::mt19937_64 random(1);
  std::vector<double> popular;
  for (std::int64_t i = 0; i < chips; ++i)
    popular.push_back(1 + 3 * static_cast<double>(random() % 1000) / 1000);
  ByteMatrix matrix{chips, {}};
  matrix.bytes.reserve(static_cast<std::size_t>(chips * chips));
  for (std::int64_t from = 0; from < chips; ++from) {
    for (std::int64_t to = 0; to < chips; ++to) {
      const double jitter = 0.5 + static_cast<double>(random() % 1'000'000) / 1e6;
      matrix.bytes.push_back(
          from == to
              ? 0
              : static_cast<std::int64_t>(2e5 * popular[static_cast<std::size_t>(to)] * jitter));
    }
  }
  return matrix;
}

FlowSet flows_of(const ByteMatrix& matrix, const Torus& torus) {
  FlowSet flows;
  for (ChipId from = 0; from < matrix.size; ++from) {
    for (ChipId to = 0; to < matrix.size; ++to) {
      if (from == to) continue;
      const auto route = torus.route(from, to);
      flows.add(static_cast<double>(matrix.at(from, to)), Picoseconds(0),
                std::vector<ResourceId>(route.begin(), route.end()));
    }
  }
  return flows;
}

void bench_flows(const std::vector<std::int64_t>& shape, double budget, double batched_budget,
                 [[maybe_unused]] bool beside_simgrid) {
  const Torus torus = torus_of(shape);
  const FlowSet flows = flows_of(skewed(torus.chips()), torus);
  const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                             v5p_links.link);
  FlowSimulation exact, batched;
  const double took = time_of([&] { exact = simulate_flows(capacity, flows); });
  line(fmt::format("skewed all-to-all, {} chips, {} flows, exact", torus.chips(), flows.size()),
       took, budget);
  const double took_batched = time_of([&] { batched = simulate_flows(capacity, flows, {0.01}); });
  line(fmt::format("  tolerance 0.01: makespan {:+.2f} % of exact",
                   100 * (batched.makespan / exact.makespan - 1)),
       took_batched, batched_budget);
#ifdef MESHSIM_HAVE_SIMGRID
  if (!beside_simgrid) return;
  std::vector<double> finish;
  const double simgrid = time_of([&] { finish = testing::simgrid_finish(capacity, flows); });
  double worst = 0;
  for (std::size_t i = 0; i < finish.size(); ++i)
    worst = std::max(worst, std::abs(seconds(exact.finish[i]) / finish[i] - 1));
  fmt::print("  SimGrid {:.2f} s: {:.0f} times ours; finish times differ by at most {:.1e}\n",
             simgrid, simgrid / took, worst);
#endif
}

void bench_loads(const std::vector<std::int64_t>& shape) {
  const Torus torus = torus_of(shape);
  const ByteMatrix matrix = skewed(torus.chips());
  Picoseconds makespan;
  const double took = time_of([&] {
    const MatrixLoads loads = matrix_loads(matrix, torus);
    makespan = makespan_from_loads(matrix, loads, torus, v5p_links);
  });
  line(fmt::format("loads and makespan of a skewed all-to-all, {} chips", torus.chips()), took,
       0.05);
}

void bench_uniform() {
  const Torus torus = torus_of({16, 20, 28});
  for (const CollectiveOp op : {CollectiveOp::all_gather, CollectiveOp::all_to_all}) {
    CollectiveRequest request;
    request.op = op;
    request.bytes = gib;
    for (std::size_t axis = 0; axis < 3; ++axis)
      request.parts.push_back({axis, torus.shape()[axis], 1, true});
    constexpr int repeats = 2000;
    std::int64_t sum = 0;
    const double took = time_of([&] {
      for (int i = 0; i < repeats; ++i) {
        request.bytes = Bytes(gib.value() + i);
        sum += total_time(phases(request, v5p_links, torus)).value();
      }
    });
    if (sum == 0) return;  // the work is not to be optimised away
    line(fmt::format("uniform {} on {} chips", name(op), torus.chips()), took / repeats, 10e-6);
  }
}

// An event is popped and another one pushed, some time later: the number pending stays.
void bench_events() {
  std::mt19937_64 random(3);
  std::vector<std::int64_t> ahead(4096);
  for (std::int64_t& each : ahead) each = static_cast<std::int64_t>(random() % 1'000'000);
  for (const std::size_t pending : {64U, 1000U, 16'000U}) {
    EventQueue<int> queue;
    for (std::size_t i = 0; i < pending; ++i) queue.push(ahead[i % 4096], 0);
    constexpr std::size_t events = 5'000'000;
    const double took = time_of([&] {
      for (std::size_t i = 0; i < events; ++i) queue.push(queue.pop().time_ps + ahead[i % 4096], 0);
    });
    fmt::print("{:<62} {:>12.1f} M/s  budget 10 M/s at 1000  {:>8.1f} x\n",
               fmt::format("events, {} pending", pending), static_cast<double>(events) / took / 1e6,
               static_cast<double>(events) / took / 10e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  [[maybe_unused]] const bool large = argc > 1 && std::string_view(argv[1]) == "--simgrid-128";
  bench_flows({4, 4, 4}, 0.1, 0.1, !large);
  bench_flows({4, 4, 8}, 1, 0.25, large);
  bench_flows({4, 8, 8}, 5, 0.5, false);
  bench_loads({4, 8, 8});
  bench_loads({16, 16, 16});
  bench_uniform();
  bench_events();
}
