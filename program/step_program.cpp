#include "program/step_program.hpp"

#include <iterator>
#include <utility>

#include "units/checked.hpp"

namespace meshsim {

std::string_view name(Pass pass) {
  switch (pass) {
    case Pass::forward: return "forward";
    case Pass::recompute: return "recompute";
    case Pass::backward: return "backward";
    case Pass::optimizer: return "optimizer";
  }
  return "";
}

std::string_view name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_gather: return "all-gather";
    case CollectiveKind::reduce_scatter: return "reduce-scatter";
    case CollectiveKind::all_reduce: return "all-reduce";
    case CollectiveKind::all_to_all: return "all-to-all";
    case CollectiveKind::permute: return "collective-permute";
  }
  return "";
}

Bytes Collective::sent() const {
  if (kind == CollectiveKind::permute) return payload;
  // Shards are payload / n bytes; a payload that n does not divide has one short shard.
  const Bytes once = payload - Bytes(payload.value() / group);
  return kind == CollectiveKind::all_reduce ? once * 2 : once;
}

void append(std::vector<ProgramNode>& to, std::vector<ProgramNode> from) {
  if (to.empty()) {
    to = std::move(from);
    return;
  }
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

ProgramNode leaf_node(Leaf leaf) { return {ProgramNode::Kind::leaf, std::move(leaf), {}}; }

ProgramNode sequence(std::vector<ProgramNode> children) {
  ProgramNode node;
  node.children = std::move(children);
  return node;
}

ProgramNode parallel(ProgramNode main, std::vector<ProgramNode> beside) {
  if (beside.empty()) return main;
  ProgramNode node;
  node.kind = ProgramNode::Kind::parallel;
  node.children.reserve(1 + beside.size());
  node.children.push_back(std::move(main));
  for (ProgramNode& child : beside) node.children.push_back(std::move(child));
  return node;
}

ProgramNode parallel(ProgramNode main, ProgramNode beside) {
  std::vector<ProgramNode> branches;
  branches.push_back(std::move(beside));
  return parallel(std::move(main), std::move(branches));
}

ProgramNode idle(ProgramNode body) {
  body.leaf.idle = true;
  if (auto* work = std::get_if<Compute>(&body.leaf.work)) work->model_flops = {};
  for (ProgramNode& child : body.children) child = idle(std::move(child));
  return body;
}

void move_exchanges(ProgramNode& body, std::int32_t by) {
  if (body.leaf.routed.exchange >= 0) body.leaf.routed.exchange += by;
  for (ProgramNode& child : body.children) move_exchanges(child, by);
}

ProgramNode repeat(std::int64_t times, ProgramNode body, RepeatOf counts,
                   std::int32_t exchange_stride) {
  if (times == 0) return sequence({});
  if (times == 1) return body;
  ProgramNode node;
  node.kind = ProgramNode::Kind::repeat;
  node.times = times;
  node.counts = counts;
  node.exchange_stride = exchange_stride;
  node.children.push_back(std::move(body));
  return node;
}

}  // namespace meshsim
