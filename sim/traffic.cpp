#include "sim/traffic.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "program/expert_loads.hpp"
#include "units/checked.hpp"

namespace meshsim {

namespace {

class Sending {
 public:
  explicit Sending(const ExpertLoads* loads) : loads_(loads) {}

  // `offset`: how much further the exchanges in `node` are than its leaves say.
  void add(const ProgramNode& node, std::int64_t times, std::int32_t offset) {
    if (node.kind == ProgramNode::Kind::leaf) {
      add(node.leaf, times, offset);
    } else if (node.kind == ProgramNode::Kind::repeat && node.exchange_stride != 0) {
      for (std::int64_t i = 0; i < node.times; ++i)
        add(node.children.front(), times,
            offset + static_cast<std::int32_t>(i) * node.exchange_stride);
    } else {
      const bool repeats = node.kind == ProgramNode::Kind::repeat;
      for (const ProgramNode& child : node.children)
        add(child, repeats ? times * node.times : times, offset);
    }
  }

  std::vector<CollectiveTraffic> take() { return std::move(all_); }

 private:
  void add(const Leaf& leaf, std::int64_t times, std::int32_t offset) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work == nullptr) return;
    CollectiveTraffic& sum = entry(leaf, *work);
    const std::vector<Bytes> ranks = sent_by_rank(leaf, *work, offset);
    const bool alike = std::equal(ranks.begin() + 1, ranks.end(), ranks.begin());
    if (!alike && sum.sent_by_rank.empty()) sum.sent_by_rank.assign(ranks.size(), sum.sent);
    Bytes group;
    for (std::size_t p = 0; p < ranks.size(); ++p) {
      group += ranks[p];
      if (!sum.sent_by_rank.empty()) sum.sent_by_rank[p] += ranks[p] * times;
    }
    sum.count += times;
    sum.payload += work->payload * times;
    sum.sent += Bytes(ceil_div(group.value(), work->group)) * times;
    sum.sent_by_group += group * times;
  }

  // By every device of the group.
  std::vector<Bytes> sent_by_rank(const Leaf& leaf, const Collective& work,
                                  std::int32_t offset) const {
    std::vector<Bytes> ranks(static_cast<std::size_t>(work.group), work.sent());
    const std::int32_t exchange = leaf.routed.exchange;
    if (loads_ == nullptr || exchange < 0) return ranks;
    const ExpertLoads::One& one = loads_->exchanges[static_cast<std::size_t>(exchange + offset)];
    if (one.balanced) return ranks;
    const CountMatrix& sent = one.load.sent;
    const Bytes slot(leaf.routed.bytes.value() / leaf.routed.rows);
    for (std::int64_t p = 0; p < sent.rows; ++p) {
      std::int64_t slots = 0;
      for (std::int64_t q = 0; q < sent.rows; ++q) {
        if (q != p) slots += leaf.routed.to_experts ? sent.at(p, q) : sent.at(q, p);
      }
      ranks[static_cast<std::size_t>(p)] = slot * slots;
    }
    return ranks;
  }

  CollectiveTraffic& entry(const Leaf& leaf, const Collective& work) {
    const std::string axes = fmt::format("{}", fmt::join(work.mesh_axes, "+"));
    const auto at = std::find_if(all_.begin(), all_.end(), [&](const CollectiveTraffic& one) {
      return one.name == leaf.name && one.mesh_axis == axes && one.kind == work.kind;
    });
    if (at != all_.end()) return *at;
    return all_.emplace_back(CollectiveTraffic{leaf.name, axes, work.kind, 0, {}, {}, {}, {}});
  }

  const ExpertLoads* loads_;
  std::vector<CollectiveTraffic> all_;
};

}  // namespace

std::vector<CollectiveTraffic> traffic(const StepProgram& program) {
  Sending all(program.loads.get());
  all.add(program.root, 1, 0);
  return all.take();
}

}  // namespace meshsim
