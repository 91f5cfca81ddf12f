#include "sim/device_step.hpp"

#include <algorithm>
#include <array>
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

using Colours = Numbers;  // of each class: which of those that do the same

class DeviceWalk {
 public:
  DeviceWalk(const Machine& machine, const DeviceGrid& grid, DeviceLoads& loads)
      : machine_(machine),
        grid_(grid),
        loads_(loads),
        now_(grid.classes(), 0),
        spent_{std::vector<std::int64_t>(grid.classes()),
               std::vector<std::int64_t>(grid.classes()),
               {},
               {}} {}

  DeviceStep run(const ProgramNode& root) {
    Place place;
    walk(root, 0, place);
    DeviceStep step;
    step.common = spent_.common;
    step.events = meeting_engine_.events();
    for (std::size_t d = 0; d < now_.size(); ++d) {
      DeviceStep::Device& device = step.classes.emplace_back();
      device.end = Picoseconds(now_[d]);
      device.experts = Picoseconds(spent_.experts[d]);
      device.waited = Picoseconds(spent_.waited[d]);
      for (std::size_t r = 0; r < resource_count; ++r)
        if (!spent_.routed[r].empty()) device.routed[r] = spent_.routed[r][d];
      step.total = std::max(step.total, device.end);
    }
    return step;
  }

 private:
  // How many leaves and Parallels of the tree come before.
  struct Place {
    std::size_t leaf = 0, parallel = 0;
  };
  // What DeviceStep says of the classes, but for their ends.
  struct Spent {
    std::vector<std::int64_t> experts, waited;               // picoseconds
    std::array<std::vector<double>, resource_count> routed;  // empty: none
    ResourceTimes common{};
  };
  // A Parallel of the tree.
  struct Known {
    ActivityGraph graph;
    std::vector<FluidLeaf> costs;  // of its leaves, those that follow the routing left out
    std::vector<std::size_t> routed;
    std::vector<std::int64_t> runs;                   // of each leaf
    ResourceTimes common{};                           // that all others take
    std::vector<const DeviceGrid::Meetings*> joined;  // by each leaf; null: none
    std::vector<const DeviceGrid::Meetings*> kinds;   // those of `joined`, each once
    std::optional<std::int64_t> together;  // its time if all start at once and nothing is routed
  };
  // A leaf that follows the routing: its costs, and which of them each class has.
  struct Own {
    ClassPrices prices;
    std::vector<FluidLeaf> costs;
    Colours of;
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
      const Spent before = together ? spent_ : Spent();
      walk(node.children.front(), offset, place);
      offset += node.exchange_stride;
      if (node.exchange_stride != 0) continue;
      const bool now_together = are_together();
      if (together && now_together) {
        const std::int64_t left = node.times - i - 1;
        const std::int64_t body = now_.front() - start;
        for (std::int64_t& now : now_) now += left * body;
        repeat_since(before, left);
        return;
      }
      together = now_together;
    }
  }

  // What has been spent since `before`, `left` times more.
  void repeat_since(const Spent& before, std::int64_t left) {
    const auto times = static_cast<double>(left);
    for (std::size_t d = 0; d < now_.size(); ++d) {
      spent_.experts[d] += (spent_.experts[d] - before.experts[d]) * left;
      spent_.waited[d] += (spent_.waited[d] - before.waited[d]) * left;
    }
    for (std::size_t r = 0; r < resource_count; ++r) {
      spent_.common[r] += (spent_.common[r] - before.common[r]) * times;
      const std::vector<double>& old = before.routed[r];
      for (std::size_t d = 0; d < spent_.routed[r].size(); ++d)
        spent_.routed[r][d] += (spent_.routed[r][d] - (old.empty() ? 0 : old[d])) * times;
    }
  }

  // All together, or one by one.
  void walk_leaf(const Leaf& leaf, std::int32_t offset, std::size_t number) {
    const std::int32_t exchange = RoutedPrices::exchange_of(leaf, offset);
    if (const auto* collective = std::get_if<Collective>(&leaf.work)) meet(collective->mesh_axes);
    if (exchange < 0) {
      if (leaf_prices_.size() <= number) leaf_prices_.resize(number + 1);
      std::unique_ptr<Price>& known = leaf_prices_[number];
      if (!known) known = std::make_unique<Price>(price(leaf, machine_));
      for (std::int64_t& now : now_) now += known->duration.value();
      add(known->times, 1, spent_.common);
      return;
    }
    loads_.price(leaf, exchange, prices_);
    spend(prices_, 1);
    for (std::size_t d = 0; d < now_.size(); ++d) now_[d] += durations_[prices_.of[d]];
  }

  static void add(const ResourceTimes& times, std::int64_t runs, ResourceTimes& sum) {
    for (std::size_t r = 0; r < resource_count; ++r) sum[r] += times[r] * static_cast<double>(runs);
  }
  // One figure at a time, so that what every class picks from lies close together. Leaves the
  // durations in durations_.
  void spend(const ClassPrices& all, std::int64_t runs) {
    durations_.clear();
    for (const Price& price : all.prices) durations_.push_back(price.duration.value());
    for (std::size_t d = 0; d < now_.size(); ++d) spent_.experts[d] += durations_[all.of[d]] * runs;
    for (std::size_t r = 0; r < resource_count; ++r) {
      bool any = false;
      times_.clear();
      for (const Price& price : all.prices) {
        times_.push_back(price.times[r] * static_cast<double>(runs));
        any = any || times_.back() > 0;
      }
      if (!any) continue;
      std::vector<double>& routed = spent_.routed[r];
      routed.resize(now_.size());
      for (std::size_t d = 0; d < now_.size(); ++d) routed[d] += times_[all.of[d]];
    }
  }

  void meet(const std::vector<std::string>& mesh_axes) {
    const DeviceGrid::Meetings& meetings = grid_.meetings(mesh_axes);
    if (meetings.of.empty()) return;
    latest_.assign(meetings.count, 0);
    for (std::size_t d = 0; d < now_.size(); ++d)
      latest_[meetings.of[d]] = std::max(latest_[meetings.of[d]], now_[d]);
    for (std::size_t d = 0; d < now_.size(); ++d) {
      spent_.waited[d] += latest_[meetings.of[d]] - now_[d];
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
    known->runs.assign(graph.leaves.size(), 0);
    for (const ActivityGraph::Activity& activity : graph.activities) {
      if (activity.leaf != ActivityGraph::join)
        ++known->runs[static_cast<std::size_t>(activity.leaf)];
    }
    for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
      if (graph.exchanges[i] >= 0) {
        known->routed.push_back(i);
        known->costs.emplace_back();
      } else {
        const Price alike = price(*graph.leaves[i], machine_);
        known->costs.push_back(fluid_leaf(*graph.leaves[i], alike));
        add(alike.times, known->runs[i], known->common);
      }
      const auto* collective = std::get_if<Collective>(&graph.leaves[i]->work);
      const DeviceGrid::Meetings* meetings =
          collective != nullptr ? &grid_.meetings(collective->mesh_axes) : nullptr;
      if (meetings != nullptr && meetings->of.empty()) meetings = nullptr;
      known->joined.push_back(meetings);
      std::vector<const DeviceGrid::Meetings*>& kinds = known->kinds;
      if (meetings != nullptr && std::find(kinds.begin(), kinds.end(), meetings) == kinds.end())
        kinds.push_back(meetings);
    }
    return *known;
  }

  void walk_parallel(const ProgramNode& node, std::int32_t offset, Place& place) {
    Known& known = known_of(node, place.parallel++);
    const ActivityGraph& graph = known.graph;
    place.leaf += graph.tree_leaves;
    add(known.common, 1, spent_.common);
    const bool together = are_together();
    if (together && known.routed.empty()) {
      if (!known.together) known.together = engine_.run(graph, known.costs);
      for (std::int64_t& now : now_) now += *known.together;
      return;
    }
    // What follows the routing: costs of every class.
    own_.resize(std::max(own_.size(), known.routed.size()));
    const std::span<Own> own(own_.data(), known.routed.size());
    for (std::size_t r = 0; r < known.routed.size(); ++r) {
      const std::size_t i = known.routed[r];
      find_costs(*graph.leaves[i], graph.exchange(i, offset), known.runs[i], own[r]);
    }
    enter_alike(own);
    refine(known.kinds);
    run_colours(known, own);
  }

  void find_costs(const Leaf& leaf, std::int32_t exchange, std::int64_t runs, Own& own) {
    loads_.price(leaf, exchange, own.prices);
    const std::vector<Price>& prices = own.prices.prices;
    costs_.clear();
    for (const Price& price : prices) costs_.push_back(fluid_leaf(leaf, price));
    // Prices may be equal.
    const std::uint32_t count = numbering_.run(
        costs_.size(),
        [&](std::size_t i) {
          return Numbering::mixed(0, static_cast<std::uint64_t>(costs_[i].duration));
        },
        [&](std::size_t a, std::size_t b) {
          return costs_[a].duration == costs_[b].duration && costs_[a].uses == costs_[b].uses;
        },
        numbers_);
    own.costs.resize(count);
    for (std::size_t i = costs_.size(); i-- > 0;) own.costs[numbers_[i]] = costs_[i];
    own.of.resize(now_.size());
    for (std::size_t d = 0; d < now_.size(); ++d) own.of[d] = numbers_[own.prices.of[d]];
    spend(own.prices, runs);
  }

  // Colours of classes that start at one time and have equal costs.
  void enter_alike(std::span<const Own> own) {
    const auto hash = [&](std::size_t d) {
      std::uint64_t sum = Numbering::mixed(0, static_cast<std::uint64_t>(now_[d]));
      for (const Own& leaf : own) sum = Numbering::mixed(sum, leaf.of[d]);
      return sum;
    };
    count_ = numbering_.run(
        now_.size(), hash,
        [&](std::size_t a, std::size_t b) {
          return now_[a] == now_[b] && std::all_of(own.begin(), own.end(), [&](const Own& leaf) {
                   return leaf.of[a] == leaf.of[b];
                 });
        },
        colours_);
  }

  // The colours that meet: of each class, the number of those that it meets; equal sets, equal
  // numbers.
  const Colours& sets_met(const DeviceGrid::Meetings& meetings) {
    members_.resize(colours_.size());
    sets_.clear();
    std::size_t end = 0;
    for (std::size_t m = 0; m < meetings.count; ++m) {
      const std::size_t begin = end;
      for (std::size_t i = meetings.first[m]; i < meetings.first[m + 1]; ++i) {
        const std::uint32_t colour = colours_[meetings.classes[i]];
        if (end == begin || members_[end - 1] != colour) members_[end++] = colour;
      }
      const auto first = members_.begin() + static_cast<std::ptrdiff_t>(begin);
      auto last = members_.begin() + static_cast<std::ptrdiff_t>(end);
      std::sort(first, last);
      last = std::unique(first, last);
      end = static_cast<std::size_t>(last - members_.begin());
      sets_.push_back({members_.data() + begin, end - begin});
    }
    numbering_.run(
        sets_.size(),
        [&](std::size_t m) {
          return std::accumulate(sets_[m].begin(), sets_[m].end(), std::uint64_t{0},
                                 Numbering::mixed);
        },
        [&](std::size_t a, std::size_t b) {
          return std::equal(sets_[a].begin(), sets_[a].end(), sets_[b].begin(), sets_[b].end());
        },
        numbers_);
    met_.resize(colours_.size());
    for (std::size_t d = 0; d < met_.size(); ++d) met_[d] = numbers_[meetings.of[d]];
    return met_;
  }

  // Classes of one colour that meet different colours are told apart, until none do.
  void refine(const std::vector<const DeviceGrid::Meetings*>& kinds) {
    for (;;) {
      const std::uint32_t before = count_;
      if (before == 1 || before == colours_.size()) return;
      for (const DeviceGrid::Meetings* meetings : kinds) {
        const Colours& met = sets_met(*meetings);
        count_ = numbering_.run(
            colours_.size(),
            [&](std::size_t d) {
              return Numbering::mixed(Numbering::mixed(0, colours_[d]), met[d]);
            },
            [&](std::size_t a, std::size_t b) {
              return colours_[a] == colours_[b] && met[a] == met[b];
            },
            finer_);
        colours_.swap(finer_);
      }
      if (count_ == before) return;
    }
  }

  // One device of each colour, which meets one of each colour that its meeting holds.
  void run_colours(const Known& known, std::span<const Own> own) {
    first_.resize(count_);
    for (std::size_t d = colours_.size(); d-- > 0;) first_[colours_[d]] = d;
    starts_.clear();
    for (const std::size_t d : first_) starts_.push_back(now_[d]);
    const auto of_first = [&](const Numbers& of_class, Numbers& of_colour) {
      of_colour.clear();
      for (const std::size_t d : first_) of_colour.push_back(of_class[d]);
    };
    kind_meetings_.resize(std::max(kind_meetings_.size(), known.kinds.size()));
    for (std::size_t kind = 0; kind < known.kinds.size(); ++kind)
      of_first(sets_met(*known.kinds[kind]), kind_meetings_[kind]);
    leaves_.resize(known.graph.leaves.size());
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      leaves_[i] = {std::span(&known.costs[i], 1), {}, {}};
      if (known.joined[i] == nullptr) continue;
      const auto kind = std::find(known.kinds.begin(), known.kinds.end(), known.joined[i]);
      leaves_[i].meetings = kind_meetings_[static_cast<std::size_t>(kind - known.kinds.begin())];
    }
    cost_of_.resize(std::max(cost_of_.size(), own.size()));
    for (std::size_t r = 0; r < own.size(); ++r) {
      of_first(own[r].of, cost_of_[r]);
      leaves_[known.routed[r]].costs = own[r].costs;
      leaves_[known.routed[r]].cost_of = cost_of_[r];
    }
    meeting_engine_.run(known.graph, leaves_, starts_);
    for (std::size_t d = 0; d < now_.size(); ++d) {
      now_[d] = meeting_engine_.ends()[colours_[d]];
      spent_.waited[d] += meeting_engine_.waited()[colours_[d]];
    }
  }

  const Machine& machine_;
  const DeviceGrid& grid_;
  DeviceLoads& loads_;
  std::vector<std::int64_t> now_;
  Spent spent_;
  std::vector<std::unique_ptr<Price>> leaf_prices_;  // of leaves that do not follow the routing
  std::vector<std::unique_ptr<Known>> known_;        // per Parallel
  std::vector<std::int64_t> latest_;
  Colours colours_;          // of each class, in the Parallel at hand
  std::uint32_t count_ = 0;  // of colours
  // Scratch space.
  Numbering numbering_;
  ClassPrices prices_;
  std::vector<std::int64_t> durations_;
  std::vector<double> times_;
  std::vector<Own> own_;
  std::vector<FluidLeaf> costs_;
  Colours met_, finer_, numbers_, members_;
  std::vector<std::span<const std::uint32_t>> sets_;
  std::vector<std::size_t> first_;  // class of each colour
  std::vector<std::int64_t> starts_;
  std::vector<Numbers> kind_meetings_, cost_of_;
  std::vector<MeetingEngine::Leaf> leaves_;
  FluidEngine engine_;
  MeetingEngine meeting_engine_;
};

}  // namespace

DeviceStep simulate_devices(const StepProgram& program, const Machine& machine,
                            const DeviceGrid& grid, DeviceLoads& loads) {
  return DeviceWalk(machine, grid, loads).run(program.root);
}

}  // namespace meshsim
