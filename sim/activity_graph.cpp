#include "sim/activity_graph.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "units/error.hpp"

namespace meshsim {

void Unrolling::run(const ProgramNode& root, std::int64_t cap, std::int32_t exchange_offset,
                    ActivityGraph& graph) {
  cap_ = cap;
  offset_ = exchange_offset;
  graph_ = &graph;
  graph.offset = exchange_offset;
  graph.leaves.clear();
  graph.exchanges.clear();
  graph.numbers.clear();
  graph.activities.clear();
  entries_.clear();
  edges_.clear();
  marked_.clear();
  waiting_.clear();
  Ends ends;
  std::int32_t leaf = 0;
  unroll(root, ends, leaf);
  sort_edges();
  graph.tree_leaves = entries_.size();
}

// Adds an activity after `ends`, which it becomes.
void Unrolling::add(std::int32_t leaf, Ends& ends) {
  if (static_cast<std::int64_t>(graph_->activities.size()) >= cap_) {
    throw Error(ErrorKind::resource_limit,
                fmt::format("the step has more than {} operations", cap_),
                "simulate with --fidelity closed-form, or fewer layers or accumulation steps");
  }
  const auto id = static_cast<ActivityId>(graph_->activities.size());
  graph_->activities.push_back({leaf, static_cast<std::int32_t>(ends.size())});
  for (const ActivityId before : ends) edges_.push_back({before, id});
  ends.assign(1, id);
  if (leaf == ActivityGraph::join) return;
  if (leaf_of(id).mark != 0) marked_.push_back(id);
  if (!leaf_of(id).after.empty()) waiting_.push_back(id);
}

const Leaf& Unrolling::leaf_of(ActivityId id) const {
  const std::int32_t leaf = graph_->activities[static_cast<std::size_t>(id)].leaf;
  return *graph_->leaves[static_cast<std::size_t>(leaf)];
}

// Edges between the branches of a Parallel, whose marked and waiting activities are those from
// `first_marked` and `first_waiting` on.
void Unrolling::link(std::size_t first_marked, std::size_t first_waiting) {
  for (std::size_t i = first_waiting; i < waiting_.size(); ++i) {
    for (const Mark mark : leaf_of(waiting_[i]).after) {
      // The last one of that mark; one that is not there is not waited for.
      for (std::size_t j = marked_.size(); j-- > first_marked;) {
        if (leaf_of(marked_[j]).mark != mark) continue;
        edges_.push_back({marked_[j], waiting_[i]});
        ++graph_->activities[static_cast<std::size_t>(waiting_[i])].predecessors;
        break;
      }
    }
  }
  marked_.resize(first_marked);
  waiting_.resize(first_waiting);
}

// The entry of a leaf of the tree, the `at`-th, in the repeat that is unrolled.
std::int32_t Unrolling::entry(const Leaf& leaf, std::int32_t at) {
  const bool first = at == static_cast<std::int32_t>(entries_.size());
  if (first) entries_.push_back(-1);
  std::int32_t& known = entries_[static_cast<std::size_t>(at)];
  const std::int32_t exchange = leaf.routed.exchange < 0 ? -1 : leaf.routed.exchange + offset_;
  if (known < 0 || graph_->exchanges[static_cast<std::size_t>(known)] != exchange) {
    known = static_cast<std::int32_t>(graph_->leaves.size());
    graph_->leaves.push_back(&leaf);
    graph_->exchanges.push_back(exchange);
    graph_->numbers.push_back(static_cast<std::size_t>(at));
  }
  return known;
}

// `leaf` counts the leaves of the tree up to `node`, and then those in it.
void Unrolling::unroll(const ProgramNode& node, Ends& ends, std::int32_t& leaf) {
  switch (node.kind) {
    case ProgramNode::Kind::leaf: add(entry(node.leaf, leaf++), ends); return;
    case ProgramNode::Kind::sequence:
      for (const ProgramNode& child : node.children) unroll(child, ends, leaf);
      return;
    case ProgramNode::Kind::repeat: {
      const std::int32_t first = leaf;
      const std::int32_t offset = offset_;
      for (std::int64_t i = 0; i < node.times; ++i) {
        leaf = first;
        unroll(node.children.front(), ends, leaf);
        offset_ += node.exchange_stride;
      }
      offset_ = offset;
      return;
    }
    case ProgramNode::Kind::parallel: {
      const Ends start = ends;
      Ends all;
      const std::size_t first_marked = marked_.size();
      const std::size_t first_waiting = waiting_.size();
      for (const ProgramNode& child : node.children) {
        Ends branch = start;
        unroll(child, branch, leaf);
        all.insert(all.end(), branch.begin(), branch.end());
      }
      link(first_marked, first_waiting);
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
      add(ActivityGraph::join, all);
      ends = std::move(all);
      return;
    }
  }
}

void Unrolling::sort_edges() {
  std::vector<std::int32_t>& first = graph_->first_successor;
  first.assign(graph_->activities.size() + 1, 0);
  for (const Edge& edge : edges_) ++first[static_cast<std::size_t>(edge.from) + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  next_.assign(first.begin(), first.end() - 1);
  graph_->successors.resize(edges_.size());
  for (const Edge& edge : edges_) {
    const auto slot = static_cast<std::size_t>(next_[static_cast<std::size_t>(edge.from)]++);
    graph_->successors[slot] = edge.to;
  }
}

ActivityGraph activity_graph(const ProgramNode& root, std::int64_t cap,
                             std::int32_t exchange_offset) {
  ActivityGraph graph;
  Unrolling().run(root, cap, exchange_offset, graph);
  return graph;
}

}  // namespace meshsim
