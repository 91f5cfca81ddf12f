#include "program/emitter.hpp"

#include <algorithm>
#include <compare>
#include <set>
#include <stdexcept>
#include <utility>

namespace meshsim {
namespace {

// Weights that travel together: over the same mesh axes, in as many stages, and before that to
// other experts' devices, or not.
struct Route {
  std::vector<std::string> axes;
  std::int64_t second_stage = 1;
  std::vector<std::string> pass_axes = {};
  auto operator<=>(const Route&) const = default;
  Route first() const { return {{axes.front()}}; }
  Route second() const { return {{axes.begin() + 1, axes.end()}}; }
};

// The ids of `which` by how they are gathered; ids that are not are left out.
std::map<Route, std::vector<std::size_t>> by_gather(const LayerTemplate& layer,
                                                    const std::vector<std::size_t>& which) {
  std::map<Route, std::vector<std::size_t>> groups;
  for (const std::size_t id : which) {
    const Weight& weight = layer.weights[id];
    if (!weight.gather_axes.empty())
      groups[{weight.gather_axes, weight.second_stage, weight.pass_axes}].push_back(id);
  }
  return groups;
}

// Those that rest whole on every expert shard, by how they get there.
std::map<Route, std::vector<std::size_t>> by_copies(const LayerTemplate& layer,
                                                    const std::vector<std::size_t>& which) {
  std::map<Route, std::vector<std::size_t>> groups;
  for (const std::size_t id : which) {
    const Weight& weight = layer.weights[id];
    if (weight.expert_copies > 1) groups[{{}, 1, weight.pass_axes}].push_back(id);
  }
  return groups;
}

std::map<std::vector<std::string>, std::vector<std::size_t>> by_reduction(
    const LayerTemplate& layer, const std::vector<std::size_t>& which) {
  std::map<std::vector<std::string>, std::vector<std::size_t>> groups;
  for (const std::size_t id : which) {
    const Weight& weight = layer.weights[id];
    if (!weight.reduce_axes.empty()) groups[weight.reduce_axes].push_back(id);
  }
  return groups;
}

Leaf collective_leaf(const LayerTemplate& layer, Name name, Pass pass, Collective work) {
  Leaf leaf;
  leaf.name = name;
  leaf.layer_kind = layer.layer_kind;
  leaf.pass = pass;
  leaf.work = std::move(work);
  return leaf;
}

WorkSource source_of(const Amount& bytes, NumberId group = no_number) {
  WorkSource source;
  source.traced = bytes.traced();
  source.bytes = bytes.terms();
  source.group = group;
  return source;
}

void append_unique(std::vector<BufferId>& ids, BufferId id) {
  if (id != no_buffer && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

}  // namespace

Emitter::Emitter(StepProgram& program, const StepTemplates& templates) : program_(program) {
  NumberId first = 0;
  for (std::size_t slot = 0; slot < templates.slots.size(); ++slot) {
    templates_.emplace_back(*templates.slots[slot], static_cast<int>(slot), first);
    first = templates_.back().end();
  }
}

const TemplateNumbers& Emitter::numbers(const LayerTemplate& layer) const {
  for (const TemplateNumbers& one : templates_) {
    if (&one.layer() == &layer) return one;
  }
  throw std::logic_error("a template that is not of this step");
}

BufferId Emitter::buffer(std::string name, Name category, const Amount& size) {
  program_.buffers.push_back({std::move(name), category, size.bytes(), size.terms()});
  program_.traced = program_.traced && size.traced();
  return static_cast<BufferId>(program_.buffers.size()) - 1;
}

Instance Emitter::instance(const LayerTemplate& layer) {
  return {&layer,
          {},
          std::vector<BufferId>(layer.weights.size(), no_buffer),
          std::vector<BufferId>(layer.weights.size(), no_buffer),
          std::vector<BufferId>(layer.weights.size(), no_buffer),
          {}};
}

BufferId Emitter::symbol(Instance& instance, Name name) {
  if (const auto found = instance.symbols.find(name); found != instance.symbols.end())
    return found->second;
  return instance.symbols[name] =
             buffer(instance.layer->layer_kind + " " + name, instance.layer->symbol(name).category,
                    numbers(*instance.layer).symbol(name));
}

std::vector<ProgramNode> Emitter::gather(const LayerTemplate& layer,
                                         const std::vector<std::size_t>& which,
                                         std::vector<BufferId>& weights, Pass pass) {
  std::vector<ProgramNode> nodes;
  const TemplateNumbers& of = numbers(layer);
  const std::vector<BufferId> fetched = fetch(layer, which, weights, pass, nodes);
  for (const auto& [route, ids] : by_gather(layer, which)) {
    Collective work{
        CollectiveKind::all_gather, route.axes, layer.weights[ids.front()].gather_group, {}};
    Amount payload;
    std::vector<BufferId> writes;
    for (const std::size_t id : ids) {
      payload += of.weight(id, WeightNumber::gathered);
      if (weights[id] == no_buffer) {
        weights[id] = buffer(layer.layer_kind + " " + layer.weights[id].name, "gathered_weights",
                             of.weight(id, WeightNumber::gathered));
      }
      append_unique(writes, weights[id]);
    }
    work.payload = payload.bytes();
    std::vector<BufferId> reads = fetched;
    WorkSource source =
        source_of(payload, of.weight_number(ids.front(), WeightNumber::gather_group));
    if (!route.pass_axes.empty()) {
      Collective passed{CollectiveKind::all_to_all, route.pass_axes,
                        layer.weights[ids.front()].pass_group,
                        Bytes(work.payload.value() / work.group)};
      std::vector<BufferId> shards = std::exchange(reads, {});
      reads = {buffer(layer.layer_kind + " pieces of experts", "gathered_weights", passed.payload)};
      Leaf leaf = collective_leaf(layer, "pass_weights_on", pass, std::move(passed));
      leaf.reads = std::move(shards);
      leaf.writes = reads;
      nodes.push_back(leaf_node(std::move(leaf)));
    }
    if (route.second_stage > 1) {
      source = {};  // its group is no number of the template
      Collective first = work;
      first.mesh_axes = route.first().axes;
      first.group = work.group / route.second_stage;
      first.payload = Bytes(work.payload.value() / route.second_stage);
      std::vector<BufferId> pieces = std::exchange(reads, {});
      reads = {buffer(layer.layer_kind + " first stage", "gathered_weights", first.payload)};
      Leaf leaf = collective_leaf(layer, "gather_weights_first", pass, std::move(first));
      leaf.reads = std::move(pieces);
      leaf.writes = reads;
      nodes.push_back(leaf_node(std::move(leaf)));
      work.mesh_axes = route.second().axes;
      work.group = route.second_stage;
    }
    Leaf leaf = collective_leaf(layer, "gather_weights", pass, std::move(work));
    leaf.source = std::move(source);
    leaf.reads = std::move(reads);
    leaf.writes = std::move(writes);
    nodes.push_back(leaf_node(std::move(leaf)));
  }
  return nodes;
}

// Those of `which` that rest on the host come to the device, in one copy at the front of `nodes`:
// the shards that are gathered next, which are returned, and weights that are used as they rest.
std::vector<BufferId> Emitter::fetch(const LayerTemplate& layer,
                                     const std::vector<std::size_t>& which,
                                     std::vector<BufferId>& weights, Pass pass,
                                     std::vector<ProgramNode>& nodes) {
  const TemplateNumbers& of = numbers(layer);
  Amount bytes;
  Amount shards;
  std::vector<BufferId> arrived;
  for (const std::size_t id : which) {
    const Weight& weight = layer.weights[id];
    if (!weight.on_host || (weight.gather_axes.empty() && weights[id] != no_buffer)) continue;
    const Amount shard = of.weight(id, WeightNumber::gradient_shard);
    bytes += shard;
    if (!weight.gather_axes.empty()) {
      shards += shard;
      continue;
    }
    weights[id] = buffer(layer.layer_kind + " " + weight.name, "gathered_weights", shard);
    arrived.push_back(weights[id]);
  }
  if (bytes.terms().empty()) return {};
  std::vector<BufferId> gathered;
  if (!shards.terms().empty())
    gathered = {buffer(layer.layer_kind + " shards of the host", "gathered_weights", shards)};
  arrived.insert(arrived.end(), gathered.begin(), gathered.end());
  nodes.push_back(host_copy("fetch_weights", layer.layer_kind, pass, bytes, arrived.back(), false));
  nodes.back().leaf.writes = std::move(arrived);
  return gathered;
}

std::vector<ProgramNode> Emitter::reduce(const LayerTemplate& layer,
                                         const std::vector<std::size_t>& which,
                                         const std::vector<BufferId>& gradients, BufferId store) {
  std::vector<ProgramNode> nodes;
  const TemplateNumbers& of = numbers(layer);
  const auto add = [&](const char* name, Collective work, WorkSource source,
                       std::vector<BufferId> reads, BufferId result) {
    Leaf leaf = collective_leaf(layer, name, Pass::backward, std::move(work));
    leaf.source = std::move(source);
    leaf.reads = std::move(reads);
    append_unique(leaf.writes, result);
    nodes.push_back(leaf_node(std::move(leaf)));
  };
  const auto sum = [&](const std::vector<std::size_t>& ids, WeightNumber which_number) {
    Amount all;
    for (const std::size_t id : ids) all += of.weight(id, which_number);
    return all;
  };
  const auto read = [&](const std::vector<std::size_t>& ids) {
    std::vector<BufferId> all;
    for (const std::size_t id : ids) append_unique(all, gradients[id]);
    return all;
  };
  for (const auto& [route, ids] : by_gather(layer, which)) {
    const Amount payload = sum(ids, WeightNumber::local_gradient);
    Collective work{CollectiveKind::reduce_scatter, route.axes,
                    layer.weights[ids.front()].gather_group, payload.bytes()};
    WorkSource source =
        source_of(payload, of.weight_number(ids.front(), WeightNumber::gather_group));
    std::vector<BufferId> reads = read(ids);
    if (route.second_stage > 1) {  // the stages of the gather in reverse
      source = {};
      Collective first = work;
      first.mesh_axes = route.second().axes;
      first.group = route.second_stage;
      work.mesh_axes = route.first().axes;
      work.group /= route.second_stage;
      work.payload = Bytes(work.payload.value() / route.second_stage);
      const BufferId half =
          buffer(layer.layer_kind + " first stage", "local_gradients", work.payload);
      add("scatter_gradients_first", std::move(first), {}, std::move(reads), half);
      reads = {half};
    }
    add("scatter_gradients", std::move(work), std::move(source), std::move(reads), store);
  }
  for (const auto& [axes, ids] : by_reduction(layer, which)) {
    const Amount payload = sum(ids, WeightNumber::scattered_gradient);
    add("reduce_gradients",
        {CollectiveKind::all_reduce, axes, layer.weights[ids.front()].reduce_group,
         payload.bytes()},
        source_of(payload, of.weight_number(ids.front(), WeightNumber::reduce_group)), read(ids),
        store);
  }
  // Every expert shard rests with the gradients of all of its FSDP shard's experts.
  for (const auto& [route, ids] : by_copies(layer, which)) {
    const Weight& first = layer.weights[ids.front()];
    const Bytes piece = sum(ids, WeightNumber::scattered_gradient).bytes();
    if (!route.pass_axes.empty())
      add("pass_gradients_on",
          {CollectiveKind::all_to_all, route.pass_axes, first.pass_group, piece}, {}, {store},
          store);
    add("gather_gradients_of_experts",
        {CollectiveKind::all_gather, {"expert"}, first.expert_copies, piece * first.expert_copies},
        {}, {store}, store);
  }
  return nodes;
}

std::vector<ProgramNode> Emitter::relayout(const Instance& instance,
                                           const std::vector<std::size_t>& which, Pass pass) {
  const LayerTemplate& layer = *instance.layer;
  const TemplateNumbers& of = numbers(layer);
  Amount bytes;
  std::vector<BufferId> copied;
  for (const std::size_t id : which) {
    if (!layer.weights[id].relaid) continue;
    bytes += of.weight(id, WeightNumber::gathered);
    append_unique(copied, instance.weights[id]);
  }
  if (bytes.terms().empty()) return {};
  return {move("relayout_weights", layer.layer_kind, pass, bytes * 2, copied, copied)};
}

std::vector<ProgramNode> Emitter::copy_gradients(Instance& instance,
                                                 const std::vector<std::size_t>& which) {
  const LayerTemplate& layer = *instance.layer;
  const TemplateNumbers& of = numbers(layer);
  std::vector<ProgramNode> nodes;
  for (const std::size_t id : which) {
    const BufferId from = std::exchange(instance.kernel_gradients[id], no_buffer);
    if (from == no_buffer) continue;
    const BufferId to = gradient(instance, id);
    nodes.push_back(
        move("copy_gradients", layer.layer_kind, Pass::backward,
             of.weight(id, WeightNumber::gathered) + of.weight(id, WeightNumber::local_gradient),
             {from}, {to}));
  }
  return nodes;
}

BufferId Emitter::gradient(Instance& instance, std::size_t id) {
  BufferId& of = instance.gradients[id];
  if (of == no_buffer) {
    const LayerTemplate& layer = *instance.layer;
    of = buffer(layer.layer_kind + " d " + layer.weights[id].name, "local_gradients",
                numbers(layer).weight(id, layer.weights[id].relaid ? WeightNumber::local_gradient
                                                                   : WeightNumber::gathered));
  }
  return of;
}

BufferId Emitter::kernel_gradient(Instance& instance, std::size_t id) {
  const LayerTemplate& layer = *instance.layer;
  if (!layer.weights[id].relaid) return gradient(instance, id);
  BufferId& of = instance.kernel_gradients[id];
  if (of == no_buffer)
    of = buffer(layer.layer_kind + " kernel d " + layer.weights[id].name, "local_gradients",
                numbers(layer).weight(id, WeightNumber::gathered));
  return of;
}

ProgramNode Emitter::leaf(Instance& instance, const OpTemplate& op, Pass pass) {
  Leaf leaf;
  leaf.name = without_chunk(op.name);
  leaf.layer_kind = instance.layer->layer_kind;
  leaf.pass = pass;
  std::visit([&](const auto& work) { leaf.work = work; }, op.work);
  leaf.source.slot = numbers(*instance.layer).slot();
  leaf.source.op = op.index;
  leaf.source.traced = op.index >= 0;
  if (op.routed.rows > 0 && instance.moe_layer >= 0) {
    leaf.routed = op.routed;
    leaf.routed.exchange =
        static_cast<std::int32_t>(instance.moe_layer * instance.layer->exchange.parts + op.part);
  }
  for (const Name read : op.reads) append_unique(leaf.reads, symbol(instance, read));
  for (const std::size_t id : op.weights) append_unique(leaf.reads, instance.weights[id]);
  for (const Name write : op.writes) append_unique(leaf.writes, symbol(instance, write));
  for (const Name spare : op.spares) append_unique(leaf.spares, symbol(instance, spare));
  for (const std::size_t id : op.gradients) {
    if (instance.layer->weights[id].gradient)
      append_unique(leaf.writes, kernel_gradient(instance, id));
  }
  return leaf_node(std::move(leaf));
}

ProgramNode Emitter::branches(Instance& instance, const std::vector<OpTemplate>& main,
                              const std::vector<OpTemplate>& beside, Pass pass,
                              const std::vector<bool>* keep) {
  std::unordered_map<Name, Mark> marks;  // of the operations that others wait for
  for (const auto* ops : {&main, &beside}) {
    for (const OpTemplate& op : *ops) {
      for (const Name name : op.after) {
        if (marks.try_emplace(name, last_mark_ + 1).second) ++last_mark_;
      }
    }
  }
  const auto add = [&](const OpTemplate& op, std::vector<ProgramNode>& nodes) {
    ProgramNode& node = nodes.emplace_back(leaf(instance, op, pass));
    if (const auto mark = marks.find(op.name); mark != marks.end()) node.leaf.mark = mark->second;
    for (const Name name : op.after) node.leaf.after.push_back(marks.at(name));
  };
  const auto runs = [&](std::size_t i) { return keep == nullptr || (*keep)[i]; };
  std::vector<ProgramNode> on_core;
  on_core.reserve(main.size());
  std::map<std::size_t, std::vector<ProgramNode>> streams;
  for (std::size_t i = 0; i < main.size(); ++i) {
    if (runs(i)) add(main[i], on_core);
  }
  for (std::size_t i = 0; i < beside.size(); ++i) {
    if (runs(main.size() + i)) add(beside[i], streams[beside[i].stream]);
  }
  if (on_core.empty() && streams.size() == 1) return sequence(std::move(streams.begin()->second));
  std::vector<ProgramNode> others;
  for (auto& [stream, nodes] : streams) others.push_back(sequence(std::move(nodes)));
  return parallel(sequence(std::move(on_core)), std::move(others));
}

ProgramNode Emitter::forward(Instance& instance, const Stage& stage, Pass pass,
                             const std::vector<bool>* keep) {
  return branches(instance, stage.forward, stage.forward_beside, pass, keep);
}

ProgramNode Emitter::backward(Instance& instance, const Stage& stage) {
  return branches(instance, stage.backward, stage.backward_beside, Pass::backward, nullptr);
}

ProgramNode Emitter::host_copy(Name name, Name layer_kind, Pass pass, const Amount& bytes,
                               BufferId device_buffer, bool to_host) {
  Leaf leaf;
  leaf.name = name;
  leaf.layer_kind = layer_kind;
  leaf.pass = pass;
  leaf.work = HostCopy{bytes.bytes(), to_host};
  leaf.source = source_of(bytes);
  (to_host ? leaf.reads : leaf.writes).push_back(device_buffer);
  return leaf_node(std::move(leaf));
}

ProgramNode Emitter::move(Name name, Name layer_kind, Pass pass, const Amount& hbm_bytes,
                          std::vector<BufferId> reads, std::vector<BufferId> writes) {
  Leaf leaf;
  leaf.name = name;
  leaf.layer_kind = layer_kind;
  leaf.pass = pass;
  Compute work;
  work.hbm_bytes = hbm_bytes.bytes();
  leaf.work = std::move(work);
  leaf.source = source_of(hbm_bytes);
  leaf.reads = std::move(reads);
  leaf.writes = std::move(writes);
  return leaf_node(std::move(leaf));
}

std::vector<std::size_t> forward_weights(const LayerTemplate& layer) {
  std::set<std::size_t> used;
  for (const Stage& stage : layer.stages) {
    const std::vector<std::size_t> some = stage.weights(false);
    used.insert(some.begin(), some.end());
  }
  return {used.begin(), used.end()};
}

std::vector<std::size_t> backward_weights(const LayerTemplate& layer, const Recomputation& again) {
  std::set<std::size_t> used;
  for (std::size_t s = 0; s < layer.stages.size(); ++s) {
    const Stage& stage = layer.stages[s];
    const std::vector<std::size_t> some = stage.weights(true);
    used.insert(some.begin(), some.end());
    for (std::size_t i = 0; i < stage.forward.size(); ++i) {
      if (again[s][i])
        used.insert(stage.forward[i].weights.begin(), stage.forward[i].weights.end());
    }
  }
  return {used.begin(), used.end()};
}

std::vector<std::size_t> all_gradients(const LayerTemplate& layer) {
  std::set<std::size_t> written;
  for (const Stage& stage : layer.stages) {
    for (const std::size_t id : stage.gradients()) {
      if (layer.weights[id].gradient) written.insert(id);
    }
  }
  return {written.begin(), written.end()};
}

Bytes gradient_bytes(const LayerTemplate& layer) {
  // Trainable weights without a gradient (the indexer's) still meet the optimizer with zeros.
  Bytes sum;
  for (const Weight& weight : layer.weights) {
    if (weight.trainable) sum += weight.gradient_shard;
  }
  return sum;
}

}  // namespace meshsim
