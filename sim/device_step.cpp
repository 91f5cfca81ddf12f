#include "sim/device_step.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "sim/event_engine.hpp"
#include "sim/meeting_engine.hpp"

namespace meshsim {
namespace {

using Colours = std::vector<std::uint32_t>;  // of each class: which of those that do the same

class DeviceWalk {
 public:
  DeviceWalk(const Machine& machine, const DeviceGrid& grid, DeviceLoads& loads)
      : machine_(machine),
        grid_(grid),
        loads_(loads),
        now_(grid.classes(), 0),
        devices_(grid.classes()) {}

  DeviceStep run(const ProgramNode& root) {
    Place place;
    walk(root, 0, place);
    DeviceStep step;
    for (std::size_t d = 0; d < devices_.size(); ++d) {
      devices_[d].end = Picoseconds(now_[d]);
      step.total = std::max(step.total, devices_[d].end);
    }
    step.classes = std::move(devices_);
    return step;
  }

 private:
  // How many leaves and Parallels of the tree come before.
  struct Place {
    std::size_t leaf = 0, parallel = 0;
  };
  // A Parallel of the tree.
  struct Known {
    ActivityGraph graph;
    std::vector<FluidLeaf> costs;  // of its leaves, those that follow the routing left out
    std::vector<std::size_t> routed;
    std::optional<std::int64_t> together;  // its time if all start at once and nothing is routed
  };

  bool are_together() const {
    return std::all_of(now_.begin(), now_.end(), [&](std::int64_t t) { return t == now_.front(); });
  }

  void walk(const ProgramNode& node, std::int32_t offset, Place& place) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: walk_leaf(node.leaf, offset, place.leaf++); return;
      case ProgramNode::Kind::sequence:
        for (const ProgramNode& child : node.children) walk(child, offset, place);
        return;
      case ProgramNode::Kind::repeat: walk_repeat(node, offset, place); return;
      case ProgramNode::Kind::parallel: walk_parallel(node, offset, place); return;
    }
  }

  // Once all devices start a body together and end it together, so they do in all its repeats.
  void walk_repeat(const ProgramNode& node, std::int32_t offset, Place& place) {
    const Place first = place;
    bool together = node.exchange_stride == 0 && are_together();
    for (std::int64_t i = 0; i < node.times; ++i) {
      place = first;
      const std::int64_t start = now_.front();
      const std::vector<DeviceStep::Device> before = together ? devices_ : decltype(devices_){};
      walk(node.children.front(), offset, place);
      offset += node.exchange_stride;
      if (node.exchange_stride != 0) continue;
      const bool now_together = are_together();
      if (together && now_together) {
        const std::int64_t left = node.times - i - 1;
        const std::int64_t body = now_.front() - start;
        for (std::size_t d = 0; d < now_.size(); ++d) {
          now_[d] += left * body;
          devices_[d].experts += (devices_[d].experts - before[d].experts) * left;
          devices_[d].waited += (devices_[d].waited - before[d].waited) * left;
        }
        return;
      }
      together = now_together;
    }
  }

  // All together, or one by one.
  void walk_leaf(const Leaf& leaf, std::int32_t offset, std::size_t number) {
    const std::int32_t exchange = RoutedPrices::exchange_of(leaf, offset);
    if (const auto* collective = std::get_if<Collective>(&leaf.work)) meet(collective->mesh_axes);
    if (exchange < 0) {
      if (leaf_times_.size() <= number) leaf_times_.resize(number + 1, -1);
      std::int64_t& time = leaf_times_[number];
      if (time < 0) time = price(leaf, machine_).duration.value();
      for (std::int64_t& now : now_) now += time;
      return;
    }
    for (std::size_t d = 0; d < now_.size(); ++d) {
      const Picoseconds time = loads_.price(leaf, exchange, d).duration;
      now_[d] += time.value();
      devices_[d].experts += time;
    }
  }

  void meet(const std::vector<std::string>& mesh_axes) {
    const DeviceGrid::Meetings& meetings = grid_.meetings(mesh_axes);
    if (meetings.of.empty()) return;
    latest_.assign(meetings.count, 0);
    for (std::size_t d = 0; d < now_.size(); ++d)
      latest_[meetings.of[d]] = std::max(latest_[meetings.of[d]], now_[d]);
    for (std::size_t d = 0; d < now_.size(); ++d) {
      devices_[d].waited += Picoseconds(latest_[meetings.of[d]] - now_[d]);
      now_[d] = latest_[meetings.of[d]];
    }
  }

  Known& known_of(const ProgramNode& node, std::size_t number) {
    if (known_.size() <= number) known_.resize(number + 1);
    std::unique_ptr<Known>& known = known_[number];
    if (known) return *known;
    known = std::make_unique<Known>();
    known->graph = activity_graph(node, default_event_cap);
    const ActivityGraph& graph = known->graph;
    for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
      const bool routed = graph.exchanges[i] >= 0;
      if (routed) known->routed.push_back(i);
      known->costs.push_back(
          routed ? FluidLeaf{} : fluid_leaf(*graph.leaves[i], price(*graph.leaves[i], machine_)));
    }
    return *known;
  }

  void walk_parallel(const ProgramNode& node, std::int32_t offset, Place& place) {
    Known& known = known_of(node, place.parallel++);
    const ActivityGraph& graph = known.graph;
    place.leaf += graph.tree_leaves;
    const bool together = are_together();
    if (together && known.routed.empty()) {
      if (!known.together) known.together = engine_.run(graph, known.costs);
      for (std::int64_t& now : now_) now += *known.together;
      return;
    }
    // What follows the routing: costs of every class.
    own_.resize(std::max(own_.size(), known.routed.size()));
    const std::span<std::vector<FluidLeaf>> own(own_.data(), known.routed.size());
    for (std::size_t r = 0; r < known.routed.size(); ++r) {
      const std::size_t i = known.routed[r];
      own[r].clear();
      for (std::size_t d = 0; d < now_.size(); ++d) {
        const Price price = loads_.price(*graph.leaves[i], graph.exchange(i, offset), d);
        own[r].push_back(fluid_leaf(*graph.leaves[i], price));
        devices_[d].experts += price.duration;
      }
    }
    Colours colours = entering_alike(own);
    std::vector<const std::vector<std::string>*> joined;  // of each leaf, what it is over
    for (const Leaf* leaf : graph.leaves) {
      const auto* collective = std::get_if<Collective>(&leaf->work);
      joined.push_back(collective != nullptr && !grid_.meetings(collective->mesh_axes).of.empty()
                           ? &collective->mesh_axes
                           : nullptr);
    }
    run_colours(known, own, refined(std::move(colours), joined), joined);
  }

  // Numbers 0 to n - 1: equal things, equal numbers, in the order of the first of each.
  template <class Hash, class Equal>
  static Colours numbered(std::size_t n, const Hash& hash, const Equal& equal) {
    constexpr std::uint32_t nothing = ~std::uint32_t{0};
    std::size_t size = 16;
    while (size < 2 * n) size *= 2;
    std::vector<std::uint32_t> table(size, nothing);  // the first of its number
    Colours numbers(n);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::size_t at = hash(i) & (size - 1);
      while (table[at] != nothing && !equal(table[at], i)) at = (at + 1) & (size - 1);
      if (table[at] == nothing) {
        table[at] = static_cast<std::uint32_t>(i);
        numbers[i] = next++;
      } else {
        numbers[i] = numbers[table[at]];
      }
    }
    return numbers;
  }
  static std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15U;  // 2^64 over the golden ratio
    return hash ^ hash >> 29U;
  }

  // Classes that start at one time and have equal costs.
  Colours entering_alike(std::span<const std::vector<FluidLeaf>> own) const {
    const auto hash = [&](std::size_t d) {
      std::uint64_t sum = mixed(0, static_cast<std::uint64_t>(now_[d]));
      for (const std::vector<FluidLeaf>& leaf : own)
        sum = mixed(sum, static_cast<std::uint64_t>(leaf[d].duration));
      return sum;
    };
    return numbered(now_.size(), hash, [&](std::size_t a, std::size_t b) {
      return now_[a] == now_[b] &&
             std::all_of(own.begin(), own.end(), [&](const std::vector<FluidLeaf>& leaf) {
               return leaf[a].duration == leaf[b].duration && leaf[a].uses == leaf[b].uses;
             });
    });
  }

  static std::uint32_t count(const Colours& colours) {
    return *std::max_element(colours.begin(), colours.end()) + 1;
  }

  // The colours that meet, for every meeting over `axes`: equal sets, equal numbers.
  Colours sets_met(const Colours& colours, const std::vector<std::string>& axes) const {
    const DeviceGrid::Meetings& meetings = grid_.meetings(axes);
    std::vector<Colours> sets(meetings.count);
    for (std::size_t d = 0; d < colours.size(); ++d) {
      Colours& set = sets[meetings.of[d]];
      if (set.empty() || set.back() != colours[d]) set.push_back(colours[d]);
    }
    for (Colours& set : sets) {
      std::sort(set.begin(), set.end());
      set.erase(std::unique(set.begin(), set.end()), set.end());
    }
    const auto hash = [&](std::size_t m) {
      return std::accumulate(sets[m].begin(), sets[m].end(), std::uint64_t{0}, mixed);
    };
    const Colours numbers = numbered(
        sets.size(), hash, [&](std::size_t a, std::size_t b) { return sets[a] == sets[b]; });
    Colours of_class;
    for (const std::uint32_t meeting : meetings.of) of_class.push_back(numbers[meeting]);
    return of_class;
  }

  // Classes of one colour that meet different colours are told apart, until none do.
  Colours refined(Colours colours,
                  const std::vector<const std::vector<std::string>*>& joined) const {
    for (;;) {
      const std::uint32_t before = count(colours);
      if (before == 1 || before == colours.size()) return colours;
      for (const auto* axes : joined) {
        if (axes == nullptr) continue;
        const Colours met = sets_met(colours, *axes);
        colours = numbered(
            colours.size(), [&](std::size_t d) { return mixed(mixed(0, colours[d]), met[d]); },
            [&](std::size_t a, std::size_t b) {
              return colours[a] == colours[b] && met[a] == met[b];
            });
      }
      if (count(colours) == before) return colours;
    }
  }

  // One device of each colour, which meets one of each colour that its meeting holds.
  void run_colours(const Known& known, std::span<const std::vector<FluidLeaf>> own,
                   const Colours& colours,
                   const std::vector<const std::vector<std::string>*>& joined) {
    std::vector<std::size_t> first(count(colours));
    for (std::size_t d = colours.size(); d-- > 0;) first[colours[d]] = d;
    std::vector<std::int64_t> starts;
    for (const std::size_t d : first) starts.push_back(now_[d]);
    const std::size_t leaves = known.graph.leaves.size();
    costs_.resize(std::max(costs_.size(), leaves));
    for (std::vector<FluidLeaf>& costs : costs_) costs.clear();
    std::vector<Colours> meetings(leaves);
    for (std::size_t r = 0; r < own.size(); ++r) {
      for (const std::size_t d : first) costs_[known.routed[r]].push_back(own[r][d]);
    }
    std::vector<MeetingEngine::Leaf> engine_leaves(leaves);
    for (std::size_t i = 0; i < leaves; ++i) {
      if (joined[i] != nullptr) {
        const Colours met = sets_met(colours, *joined[i]);
        for (const std::size_t d : first) meetings[i].push_back(met[d]);
      }
      engine_leaves[i].costs = costs_[i].empty() ? std::span(&known.costs[i], 1) : costs_[i];
      engine_leaves[i].meetings = meetings[i];
    }
    meeting_engine_.run(known.graph, engine_leaves, starts);
    for (std::size_t d = 0; d < now_.size(); ++d) {
      now_[d] = meeting_engine_.ends()[colours[d]];
      devices_[d].waited += Picoseconds(meeting_engine_.waited()[colours[d]]);
    }
  }

  const Machine& machine_;
  const DeviceGrid& grid_;
  DeviceLoads& loads_;
  std::vector<std::int64_t> now_;
  std::vector<DeviceStep::Device> devices_;
  std::vector<std::int64_t> leaf_times_;  // of leaves that do not follow the routing; -1: unknown
  std::vector<std::unique_ptr<Known>> known_;  // per Parallel
  std::vector<std::int64_t> latest_;
  std::vector<std::vector<FluidLeaf>> own_, costs_;  // scratch space
  FluidEngine engine_;
  MeetingEngine meeting_engine_;
};

}  // namespace

DeviceStep simulate_devices(const StepProgram& program, const Machine& machine,
                            const DeviceGrid& grid, DeviceLoads& loads) {
  return DeviceWalk(machine, grid, loads).run(program.root);
}

}  // namespace meshsim
