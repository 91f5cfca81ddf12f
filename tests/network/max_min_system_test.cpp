#include "sim/network/max_min_system.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

struct Job {
  std::vector<Demand> demands;
  double weight = 1;
};

// Progressive filling of everything, from the definition: all open rates rise together until a
// resource is full.
std::map<ActivityId, double> naive_rates(const std::vector<double>& capacity,
                                         const std::map<ActivityId, Job>& jobs) {
  std::vector<double> left = capacity;
  std::map<ActivityId, double> level;
  while (level.size() < jobs.size()) {
    std::vector<double> asked(capacity.size());
    for (const auto& [id, job] : jobs) {
      if (level.contains(id)) continue;
      for (const Demand& demand : job.demands)
        asked[static_cast<std::size_t>(demand.resource)] += demand.amount * job.weight;
    }
    std::size_t full = capacity.size();
    for (std::size_t r = 0; r < capacity.size(); ++r) {
      if (asked[r] > 1e-12 &&
          (full == capacity.size() || left[r] / asked[r] < left[full] / asked[full]))
        full = r;
    }
    const double share = left[full] / asked[full];
    for (const auto& [id, job] : jobs) {
      if (level.contains(id)) continue;
      if (std::none_of(job.demands.begin(), job.demands.end(), [&](const Demand& demand) {
            return static_cast<std::size_t>(demand.resource) == full;
          }))
        continue;
      level[id] = share;
      for (const Demand& demand : job.demands)
        left[static_cast<std::size_t>(demand.resource)] -= demand.amount * job.weight * share;
    }
  }
  for (auto& [id, rate] : level) rate *= jobs.at(id).weight;
  return level;
}

Job random_job(std::mt19937_64& random, std::size_t resources, bool whole_amounts, bool weighted) {
  std::vector<ResourceId> all;
  for (std::size_t r = 0; r < resources; ++r) all.push_back(static_cast<ResourceId>(r));
  std::shuffle(all.begin(), all.end(), random);
  Job job;
  const std::size_t used = 1 + random() % std::min<std::size_t>(resources, 5);
  for (std::size_t i = 0; i < used; ++i) {
    const double amount = whole_amounts ? 1 : 0.25 + static_cast<double>(random() % 8);
    job.demands.push_back({all[i], amount});
  }
  if (weighted) job.weight = 0.5 + static_cast<double>(random() % 4);
  return job;
}

}  // namespace

TEST_CASE("two share one resource, the third takes what the second leaves", "[max_min]") {
  // C = (1, 2). a: {0}, b: {0, 1}, c: {1}. Resource 0 fills first: a = b = 1/2; c = 2 - 1/2.
  MaxMinSystem system({1, 2});
  const ActivityId a = system.add(std::vector<Demand>{{0}});
  const ActivityId b = system.add(std::vector<Demand>{{0}, {1}});
  const ActivityId c = system.add(std::vector<Demand>{{1}});
  system.solve();
  CHECK(system.rate(a) == 0.5);
  CHECK(system.rate(b) == 0.5);
  CHECK(system.rate(c) == 1.5);
  CHECK(system.bottleneck(b) == 0);
  CHECK(system.bottleneck(c) == 1);
  // Without a, b may have all of 0, but half of 1 is less or as much: b = c = 1.
  system.remove(a);
  system.solve();
  CHECK(system.rate(b) == 1);
  CHECK(system.rate(c) == 1);
  CHECK(system.certified(1e-12));
}

TEST_CASE("weights and amounts scale shares", "[max_min]") {
  // C = 6; weights 1 and 2, the second takes 1/2 per unit of rate: l (1 + 1/2 x 2) = 6, l = 3.
  MaxMinSystem system({6});
  const ActivityId a = system.add(std::vector<Demand>{{0}});
  const ActivityId b = system.add(std::vector<Demand>{{0, 0.5}}, 2);
  system.solve();
  CHECK(system.rate(a) == 3);
  CHECK(system.rate(b) == 6);
}

TEST_CASE("random changes: certified after every solve, and the rates of the definition",
          "[max_min]") {
  for (unsigned seed = 0; seed < 150; ++seed) {
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    std::vector<double> capacity(1 + random() % 20);
    // A third of the systems have ties everywhere.
    for (double& each : capacity)
      each = seed % 3 == 0 ? 1 : 1 + static_cast<double>(random() % 1000) / 100;
    MaxMinSystem system(capacity);
    std::map<ActivityId, Job> live;
    const std::size_t most = 1 + random() % 60;
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t changes = 1 + (random() % 4 == 0 ? random() % 10 : 0);
      for (std::uint64_t change = 0; change < changes; ++change) {
        if (live.empty() || (live.size() < most && random() % 2 == 0)) {
          const Job job = random_job(random, capacity.size(), seed % 2 == 1, seed % 5 == 0);
          live[system.add(job.demands, job.weight)] = job;
        } else {
          const auto victim = std::next(live.begin(), static_cast<long>(random() % live.size()));
          system.remove(victim->first);
          live.erase(victim);
        }
      }
      system.solve();
      REQUIRE(system.certified(1e-9));
      REQUIRE(system.active() == static_cast<std::int64_t>(live.size()));
      for (const auto& [id, rate] : naive_rates(capacity, live))
        REQUIRE(system.rate(id) == Approx(rate).epsilon(1e-9));
    }
  }
}

TEST_CASE("a change solves its own component alone", "[max_min]") {
  MaxMinSystem system(std::vector<double>(6, 1.0));
  const ActivityId left = system.add(std::vector<Demand>{{0}, {1}});
  system.add(std::vector<Demand>{{1}, {2}});
  system.add(std::vector<Demand>{{3}, {4}});
  system.solve();
  CHECK(system.component(0) == system.component(2));
  CHECK(system.component(0) != system.component(3));
  system.remove(left);
  system.solve();
  const auto solved = system.solved();
  CHECK(std::all_of(solved.begin(), solved.end(), [](ResourceId r) { return r <= 2; }));
  // One that uses both joins them.
  system.add(std::vector<Demand>{{2}, {3}});
  system.solve();
  CHECK(system.component(1) == system.component(4));
  CHECK(system.certified());
}

TEST_CASE("moves name every activity whose bottleneck changed", "[max_min]") {
  std::mt19937_64 random(7);
  MaxMinSystem system(std::vector<double>{3, 1, 4, 1.5, 5, 9, 2, 6});
  std::map<ActivityId, ResourceId> seen;
  std::vector<ActivityId> live;
  for (int step = 0; step < 300; ++step) {
    if (live.size() < 4 || random() % 2 == 0) {
      live.push_back(system.add(random_job(random, 8, false, true).demands));
      seen[live.back()] = MaxMinSystem::none;
    } else {
      system.remove(live.back());
      seen.erase(live.back());
      live.pop_back();
    }
    system.solve();
    for (const MaxMinSystem::Move& move : system.moves()) {
      REQUIRE(seen.at(move.activity) == move.from);
      seen[move.activity] = system.bottleneck(move.activity);
    }
    for (const auto& [activity, bottleneck] : seen)
      REQUIRE(bottleneck == system.bottleneck(activity));
  }
}

TEST_CASE("impossible systems are refused", "[max_min]") {
  CHECK(refusal([] { MaxMinSystem({1, 0}); }).kind() == ErrorKind::invalid_input);
  CHECK_THROWS_AS(MaxMinSystem({-1}), Error);
  CHECK_THROWS_AS(MaxMinSystem({MaxMinSystem::unbounded}), Error);
  MaxMinSystem system({1, 1});
  CHECK_THROWS_AS(system.add(std::vector<Demand>{}), Error);
  CHECK_THROWS_AS(system.add(std::vector<Demand>{{2}}), Error);
  CHECK_THROWS_AS(system.add(std::vector<Demand>{{-1}}), Error);
  CHECK_THROWS_AS(system.add(std::vector<Demand>{{0, 0}}), Error);
  CHECK_THROWS_AS(system.add(std::vector<Demand>{{0}, {0}}), Error);
  CHECK_THROWS_AS(system.add(std::vector<Demand>{{0}}, 0), Error);
}
