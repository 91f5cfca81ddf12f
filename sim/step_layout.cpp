#include "sim/step_layout.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

namespace meshsim {
namespace {

class Cutting {
 public:
  std::vector<Block> run(const ProgramNode& root) {
    visit(root, {});
    close();
    return std::move(blocks_);
  }

 private:
  void visit(const ProgramNode& node, Block count) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf:
        if (!open_) {
          row_ = count;
          open_ = true;
        }
        row_.nodes.push_back(&node);
        return;
      case ProgramNode::Kind::sequence:
        for (const ProgramNode& child : node.children) visit(child, count);
        return;
      case ProgramNode::Kind::repeat:
        close();
        if (node.counts == RepeatOf::layers) count.times *= node.times;
        if (node.counts == RepeatOf::microbatches) count.per_microbatch = true;
        if (node.counts == RepeatOf::loss_tiles) count.per_tile = true;
        visit(node.children.front(), count);
        close();
        return;
      case ProgramNode::Kind::parallel:
        close();
        count.nodes = {&node};
        blocks_.push_back(std::move(count));
        return;
    }
  }

  void close() {
    if (open_) blocks_.push_back(std::move(row_));
    row_ = {};
    open_ = false;
  }

  std::vector<Block> blocks_;
  Block row_;  // leaves in a row
  bool open_ = false;
};

// Marks by their order in the block: their values are those of the whole step.
class Marks {
 public:
  std::int64_t number(Mark mark) {
    if (mark == 0) return 0;
    return numbers_.try_emplace(mark, static_cast<std::int64_t>(numbers_.size()) + 1).first->second;
  }

 private:
  std::map<Mark, std::int64_t> numbers_;
};

void add_leaf(Key& key, const Leaf& leaf, Marks& marks) {
  key.add(leaf.name.place()).add(leaf.layer_kind.place()).add(static_cast<std::int64_t>(leaf.pass));
  key.add(marks.number(leaf.mark)).add(static_cast<std::int64_t>(leaf.after.size()));
  for (const Mark mark : leaf.after) key.add(marks.number(mark));
  const WorkSource& source = leaf.source;
  key.add(source.slot).add(source.op).add(source.group);
  key.add(static_cast<std::int64_t>(source.bytes.size()));
  for (const AmountTerm& term : source.bytes) key.add(term.number).add(term.times);
  key.add(static_cast<std::int64_t>(leaf.work.index()));
  if (const auto* work = std::get_if<Collective>(&leaf.work)) {
    key.add(static_cast<std::int64_t>(work->kind));
    key.add(static_cast<std::int64_t>(work->mesh_axes.size()));
    for (const std::string& axis : work->mesh_axes) key.add(axis);
  } else if (const auto* copy = std::get_if<HostCopy>(&leaf.work)) {
    key.add(copy->to_host ? 1 : 0);
  }
}

void add_node(Key& key, const ProgramNode& node, Marks& marks) {
  key.add(static_cast<std::int64_t>(node.kind)).add(node.times);
  key.add(static_cast<std::int64_t>(node.children.size()));
  if (node.kind == ProgramNode::Kind::leaf) add_leaf(key, node.leaf, marks);
  for (const ProgramNode& child : node.children) add_node(key, child, marks);
}

}  // namespace

std::vector<Block> blocks_of(const ProgramNode& root) { return Cutting().run(root); }

std::size_t NumberRow::slot_of(NumberId number) const {
  const auto after = std::upper_bound(first.begin(), first.end(), number);
  return static_cast<std::size_t>(after - first.begin()) - 1;
}

BlockInputs inputs_of(const Block& block, const NumberRow& row) {
  std::set<std::size_t> slots;
  std::set<BlockInputs::Number> numbers;
  const auto add = [&](NumberId number) {
    const std::size_t slot = row.slot_of(number);
    numbers.insert({slot, static_cast<std::size_t>(number - row.first[slot])});
  };
  for (const ProgramNode* node : block.nodes) {
    for_each_leaf(*node, [&](const Leaf& leaf, std::int64_t) {
      const WorkSource& source = leaf.source;
      if (source.slot >= 0) slots.insert(static_cast<std::size_t>(source.slot));
      for (const AmountTerm& term : source.bytes) add(term.number);
      if (source.group != no_number) add(source.group);
    });
  }
  BlockInputs inputs{{slots.begin(), slots.end()}, {}};
  for (const BlockInputs::Number& number : numbers) {
    if (!slots.contains(number.slot)) inputs.numbers.push_back(number);
  }
  return inputs;
}

bool BlockInputs::reads(std::size_t slot) const {
  return std::find(slots.begin(), slots.end(), slot) != slots.end() ||
         std::any_of(numbers.begin(), numbers.end(),
                     [&](const Number& number) { return number.slot == slot; });
}

BlockInputs united(const BlockInputs& a, const BlockInputs& b) {
  BlockInputs both;
  std::set_union(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(),
                 std::back_inserter(both.slots));
  std::set_union(a.numbers.begin(), a.numbers.end(), b.numbers.begin(), b.numbers.end(),
                 std::back_inserter(both.numbers));
  std::erase_if(both.numbers, [&](const BlockInputs::Number& number) {
    return std::binary_search(both.slots.begin(), both.slots.end(), number.slot);
  });
  return both;
}

void add_block(Key& key, const Block& block) {
  Marks marks;
  key.add(static_cast<std::int64_t>(block.nodes.size()));
  for (const ProgramNode* node : block.nodes) add_node(key, *node, marks);
}

}  // namespace meshsim
