#include "sim/closed_form.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace meshsim {
namespace {

// A stretch of time in which the same leaves run.
struct Span {
  std::int64_t duration = 0;  // picoseconds, if nothing slowed it
  std::array<double, resource_count> use{};
  const Leaf* compute = nullptr;     // on the TensorCore
  Bound bound = Bound::compute;      // of it
  const Leaf* collective = nullptr;  // the first of those beside it
};

using Profile = std::vector<Span>;

// Where profiles end in the same place or not: cut both so that they match, span by span.
Profile overlay(const Profile& a, const Profile& b) {
  Profile both;
  std::size_t i = 0;
  std::size_t j = 0;
  std::int64_t used_a = 0;
  std::int64_t used_b = 0;
  while (i < a.size() || j < b.size()) {
    const std::int64_t left_a = i < a.size() ? a[i].duration - used_a : -1;
    const std::int64_t left_b = j < b.size() ? b[j].duration - used_b : -1;
    Span span;
    span.duration = left_a < 0 ? left_b : left_b < 0 ? left_a : std::min(left_a, left_b);
    if (left_a >= 0) {
      span.use = a[i].use;
      span.compute = a[i].compute;
      span.bound = a[i].bound;
      span.collective = a[i].collective;
      used_a += span.duration;
    }
    if (left_b >= 0) {
      for (std::size_t r = 0; r < resource_count; ++r) span.use[r] += b[j].use[r];
      if (span.compute == nullptr) {
        span.compute = b[j].compute;
        span.bound = b[j].bound;
      }
      if (span.collective == nullptr) span.collective = b[j].collective;
      used_b += span.duration;
    }
    if (i < a.size() && used_a == a[i].duration) {
      ++i;
      used_a = 0;
    }
    if (j < b.size() && used_b == b[j].duration) {
      ++j;
      used_b = 0;
    }
    both.push_back(span);
  }
  return both;
}

class ClosedForm {
 public:
  explicit ClosedForm(const Machine& machine) : machine_(machine) {}

  Timeline run(const ProgramNode& root) {
    Timeline timeline;
    timeline.total = add(root, 1);
    timeline.parts = parts_.take();
    return timeline;
  }

 private:
  Profile profile(const ProgramNode& node) const {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: return {leaf_span(node.leaf)};
      case ProgramNode::Kind::sequence: {
        Profile all;
        for (const ProgramNode& child : node.children) {
          const Profile one = profile(child);
          all.insert(all.end(), one.begin(), one.end());
        }
        return all;
      }
      case ProgramNode::Kind::parallel: {
        Profile all = profile(node.children.front());
        for (std::size_t i = 1; i < node.children.size(); ++i)
          all = overlay(all, profile(node.children[i]));
        return all;
      }
      case ProgramNode::Kind::repeat: {
        const Profile body = profile(node.children.front());
        Profile all;
        for (std::int64_t i = 0; i < node.times; ++i)
          all.insert(all.end(), body.begin(), body.end());
        return all;
      }
    }
    return {};
  }

  Span leaf_span(const Leaf& leaf) const {
    const Price cost = price(leaf, machine_);
    Span span;
    span.duration = cost.duration.value();
    for (std::size_t r = 0; r < resource_count; ++r) span.use[r] = cost.use(r);
    const bool on_core = std::holds_alternative<Compute>(leaf.work);
    (on_core ? span.compute : span.collective) = &leaf;
    span.bound = cost.bound;
    return span;
  }

  // The time of `node`, its parts counted `times` times.
  Picoseconds add(const ProgramNode& node, std::int64_t times) {
    Picoseconds total;
    switch (node.kind) {
      case ProgramNode::Kind::sequence:
        for (const ProgramNode& child : node.children) total += add(child, times);
        return total;
      case ProgramNode::Kind::repeat:
        return add(node.children.front(), times * node.times) * node.times;
      case ProgramNode::Kind::leaf:
      case ProgramNode::Kind::parallel:
        for (const Span& span : profile(node)) total += add(span, times);
        return total;
    }
    return total;
  }

  Picoseconds add(const Span& span, std::int64_t times) {
    const double stretch = std::max(1.0, *std::max_element(span.use.begin(), span.use.end()));
    const Picoseconds alone(span.duration);
    const Picoseconds wall(std::llround(static_cast<double>(span.duration) * stretch));
    if (span.compute != nullptr) {
      parts_.add(*span.compute, span.bound == Bound::compute ? "compute" : "memory_bound",
                 alone * times);
      parts_.add(*span.compute, "contention", (wall - alone) * times);
    } else if (span.collective != nullptr) {
      parts_.add(*span.collective, exposed_cause(*span.collective), wall * times);
    }
    return wall;
  }

  const Machine& machine_;
  TimeParts parts_;
};

}  // namespace

Timeline closed_form(const StepProgram& program, const Machine& machine) {
  return ClosedForm(machine).run(program.root);
}

}  // namespace meshsim
