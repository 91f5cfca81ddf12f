#include "program/layer_builder.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <stdexcept>
#include <utility>

#include "topologies/layout.hpp"
#include "units/checked.hpp"

namespace meshsim {

namespace {

// The exchange that an operation belongs to: "gmm_up@2" is of the third share of the tokens, where
// they are exchanged in shares.
std::int64_t part_of(Name name, const Exchange& exchange) {
  const std::string& text = name.text();
  const std::size_t at = text.find('@');
  return exchange.parts > 1 && at != std::string::npos ? std::stoll(text.substr(at + 1)) : 0;
}

}  // namespace

Names gradients_of(const Names& names) {
  Names gradients;
  for (const Name name : names) gradients.push_back("d_" + name);
  return gradients;
}

Name with_suffix(Name name, const char* suffix) {
  const std::string& text = name.text();
  const std::size_t chunk = std::min(text.find('@'), text.size());
  return text.substr(0, chunk) + suffix + text.substr(chunk);
}

FlopCount flops_of(const std::vector<Matmul>& matmuls) {
  FlopCount flops;
  for (const Matmul& p : matmuls)
    flops += FlopCount(checked_product({2, p.count, p.m, p.k, p.n}, "FLOPs"));
  return flops;
}

Name without_chunk(Name name) {
  const std::size_t chunk = name.text().find('@');
  return chunk == std::string::npos ? name : Name(name.text().substr(0, chunk));
}

Symbol LayerTemplate::symbol(Name name) const {
  if (const auto found = symbols.find(name); found != symbols.end()) return found->second;
  if (name.starts_with("d_")) {
    Symbol gradient = symbol(name.text().substr(2));
    gradient.category = "activation_gradients";
    return gradient;
  }
  throw std::logic_error("layer template without symbol " + name);
}

std::vector<std::size_t> Stage::weights(bool backward_pass) const {
  std::set<std::size_t> all;
  for (const OpTemplate& op : backward_pass ? backward : forward)
    all.insert(op.weights.begin(), op.weights.end());
  return {all.begin(), all.end()};
}

std::vector<std::size_t> Stage::gradients() const {
  std::set<std::size_t> all;
  for (const OpTemplate& op : backward) all.insert(op.gradients.begin(), op.gradients.end());
  return {all.begin(), all.end()};
}

bool defers_backward(const LayerTemplate& layer) {
  for (std::size_t s = layer.stages.size() - layer.deferred; s < layer.stages.size(); ++s) {
    for (const auto* ops : {&layer.stages[s].backward, &layer.stages[s].backward_beside}) {
      for (const OpTemplate& op : *ops) {
        if (!std::all_of(op.reads.begin(), op.reads.end(),
                         [](Name symbol) { return symbol.starts_with("d_"); }))
          return false;
      }
    }
  }
  return layer.deferred > 0;
}

std::set<Name> residuals(const LayerTemplate& layer) {
  std::set<Name> written;
  std::set<Name> read;
  for (const Stage& stage : layer.stages) {
    for (const auto* ops : {&stage.forward, &stage.forward_beside}) {
      for (const OpTemplate& op : *ops) written.insert(op.writes.begin(), op.writes.end());
    }
    for (const auto* ops : {&stage.backward, &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) read.insert(op.reads.begin(), op.reads.end());
    }
  }
  std::set<Name> both;
  std::set_intersection(written.begin(), written.end(), read.begin(), read.end(),
                        std::inserter(both, both.begin()));
  return both;
}

Recomputation recomputation(const LayerTemplate& layer, const std::set<Name>& kept, bool output) {
  std::set<Name> needed;
  const auto need = [&](const Names& reads) {
    for (const Name symbol : reads) {
      if (!kept.contains(symbol)) needed.insert(symbol);
    }
  };
  if (output) need({layer_output});
  for (const Stage& stage : layer.stages) {
    for (const auto* ops : {&stage.backward, &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) need(op.reads);
    }
  }
  Recomputation again(layer.stages.size());
  for (std::size_t s = layer.stages.size(); s-- > 0;) {
    const Stage& stage = layer.stages[s];
    again[s].assign(stage.forward.size() + stage.forward_beside.size(), false);
    bool found = false;  // an operation that was not marked yet
    const auto visit = [&](const OpTemplate& op, std::size_t at) {
      if (again[s][at] || std::none_of(op.writes.begin(), op.writes.end(),
                                       [&](Name w) { return needed.contains(w); }))
        return;
      again[s][at] = found = true;
      need(op.reads);
    };
    // Branches may feed each other: until none adds to what is needed.
    do {
      found = false;
      for (std::size_t i = stage.forward_beside.size(); i-- > 0;)
        visit(stage.forward_beside[i], stage.forward.size() + i);
      for (std::size_t i = stage.forward.size(); i-- > 0;) visit(stage.forward[i], i);
    } while (found && !stage.forward_beside.empty());
  }
  return again;
}

LayerBuilder::LayerBuilder(const Plan& plan, Name layer_kind, const std::vector<Tensor>& tensors,
                           LocalBatch batch)
    : plan_(plan),
      batch_(std::move(batch)),
      format_(number_format(plan).value_or(NumberFormat::bfloat16)) {
  layer_.layer_kind = layer_kind;
  layer_.weights = local_weights(plan, tensors, batch_.axes);
}

std::int64_t LayerBuilder::stream_columns() const {
  return plan_.model.emb_dim / shards(plan_.mesh, batch_.axes.embed);
}

void LayerBuilder::activation(Name symbol, std::int64_t rows, std::int64_t columns) {
  activation(symbol, rows, columns, plan_.training.activations);
}

void LayerBuilder::activation(Name symbol, std::int64_t rows, std::int64_t columns, DType dtype) {
  const std::vector<std::int64_t> shape{rows, columns};
  const Bytes bytes = padded_bytes(shape, dtype);
  layer_.symbols[symbol] = {"activations", bytes, bytes};
}

void LayerBuilder::padded_activation(Name symbol, std::int64_t rows, std::int64_t touched_rows,
                                     std::int64_t columns) {
  padded_activation(symbol, rows, touched_rows, columns, plan_.training.activations);
}

void LayerBuilder::padded_activation(Name symbol, std::int64_t rows, std::int64_t touched_rows,
                                     std::int64_t columns, DType dtype) {
  activation(symbol, touched_rows, columns, dtype);
  const Bytes touched = layer_.symbols[symbol].bytes;
  activation(symbol, rows, columns, dtype);
  layer_.symbols[symbol].touched = touched;
}

void LayerBuilder::routed_activation(Name symbol, std::int64_t rows, std::int64_t routed_rows,
                                     std::int64_t columns) {
  routed_activation(symbol, rows, routed_rows, columns, plan_.training.activations);
}

void LayerBuilder::routed_activation(Name symbol, std::int64_t rows, std::int64_t routed_rows,
                                     std::int64_t columns, DType dtype) {
  padded_activation(symbol, rows, routed_rows, columns, dtype);
  layer_.symbols[symbol].routed_rows = routed_rows;
}

void LayerBuilder::stage(Name name) { layer_.stages.push_back({name, {}, {}, {}, {}}); }
void LayerBuilder::forward(OpTemplate op) { current().forward.push_back(std::move(op)); }
void LayerBuilder::forward_beside(OpTemplate op) {
  current().forward_beside.push_back(std::move(op));
}
void LayerBuilder::backward(OpTemplate op) {
  current().backward.insert(current().backward.begin(), std::move(op));
}
void LayerBuilder::backward_beside(OpTemplate op) {
  current().backward_beside.push_back(std::move(op));
}

void LayerBuilder::backward_beside_first(OpTemplate op) {
  current().backward_beside.insert(current().backward_beside.begin(), std::move(op));
}

namespace {

OpTemplate& named(std::vector<OpTemplate>& ops, Name name) {
  for (OpTemplate& op : ops) {
    if (op.name == name) return op;
  }
  throw std::logic_error("stage without operation " + name);
}

}  // namespace

OpTemplate& LayerBuilder::forward_op(Name name) { return named(current().forward, name); }
OpTemplate& LayerBuilder::backward_op(Name name) { return named(current().backward, name); }

std::size_t LayerBuilder::weight(Name name) const {
  for (std::size_t i = 0; i < layer_.weights.size(); ++i) {
    if (layer_.weights[i].name == name) return i;
  }
  throw std::logic_error("layer template without weight " + name);
}

OpTemplate LayerBuilder::compute(Name name, OpKind kind, std::vector<Matmul> matmuls,
                                 FlopCount model_flops, Names reads, Names writes,
                                 const Names& weights, const Names& gradients) const {
  OpTemplate op;
  op.part = part_of(name, layer_.exchange);
  op.name = name;
  Compute work;
  work.kind = kind;
  work.matmuls = std::move(matmuls);
  work.model_flops = model_flops;
  for (const Names* names : {&reads, &writes}) {
    for (const Name name_of : *names) {
      const Symbol symbol = layer_.symbol(name_of);
      work.hbm_bytes += symbol.touched;
      if (symbol.routed_rows == 0) continue;
      op.routed.rows = symbol.routed_rows;
      op.routed.bytes += symbol.touched;
    }
  }
  for (const Name w : weights) {
    op.weights.push_back(weight(w));
    work.hbm_bytes += layer_.weights[op.weights.back()].gathered;
  }
  for (const Name g : gradients) {
    op.gradients.push_back(weight(g));
    work.hbm_bytes += layer_.weights[op.gradients.back()].gathered;
  }
  op.reads = std::move(reads);
  op.writes = std::move(writes);
  op.work = std::move(work);
  return op;
}

OpTemplate LayerBuilder::collective(Name name, CollectiveKind kind,
                                    std::vector<std::string> mesh_axes, Bytes payload, Names reads,
                                    Names writes) const {
  const std::int64_t group = shards(plan_.mesh, mesh_axes);
  OpTemplate op;
  op.name = name;
  op.work = Collective{kind, std::move(mesh_axes), group, payload};
  op.reads = std::move(reads);
  op.writes = std::move(writes);
  return op;
}

void LayerBuilder::transfer(Name name, CollectiveKind there, CollectiveKind back,
                            const std::vector<std::string>& mesh_axes, Bytes payload, Name from,
                            Name to) {
  forward(collective(name, there, mesh_axes, payload, {from}, {to}));
  backward(
      collective(with_suffix(name, "_back"), back, mesh_axes, payload, {"d_" + to}, {"d_" + from}));
}

Bytes LayerBuilder::activation_bytes(std::int64_t rows, std::int64_t columns) const {
  return Bytes(checked_product({rows, columns, element_bytes(plan_.training.activations)},
                               "activation bytes"));
}

OpTemplate LayerBuilder::exchange(Name name, bool to_experts, std::int64_t slots, Bytes payload,
                                  Names reads, Names writes) const {
  OpTemplate op = collective(name, CollectiveKind::all_to_all, {"expert"}, payload,
                             std::move(reads), std::move(writes));
  op.part = part_of(op.name, layer_.exchange);
  op.routed = {-1, slots, payload, to_experts};
  return op;
}

void LayerBuilder::linear(Name name, const Names& weights, const Names& in, const Names& out,
                          std::vector<Matmul> matmuls, std::optional<FlopCount> model_flops) {
  const FlopCount flops = model_flops.value_or(flops_of(matmuls));
  // dX = dY W^T: [m, n] x [n, k]; dW = X^T dY: [k, m] x [m, n].
  std::vector<Matmul> input_gradient;
  std::vector<Matmul> weight_gradient;
  for (const Matmul& p : matmuls) {
    input_gradient.push_back({p.count, p.m, p.n, p.k});
    weight_gradient.push_back({p.count, p.k, p.m, p.n});
  }
  Names reads = in;
  for (const Name gradient : gradients_of(out)) reads.push_back(gradient);
  const auto product = [&](OpTemplate op) {
    std::get<Compute>(op.work).format = format_;
    return op;
  };
  backward(product(compute(with_suffix(name, "_dw"), OpKind::matmul, std::move(weight_gradient),
                           flops, std::move(reads), {}, {}, weights)));
  backward(product(compute(with_suffix(name, "_dx"), OpKind::matmul, std::move(input_gradient),
                           flops, gradients_of(out), gradients_of(in), weights)));
  forward(product(compute(name, OpKind::matmul, std::move(matmuls), flops, in, out, weights)));
}

OpTemplate LayerBuilder::grouped(Product product, Name name, std::vector<Matmul> matmuls,
                                 Names reads, Names writes, const Names& weights,
                                 const Groups& groups) const {
  const bool sums_rows = product == Product::weight_gradients;
  const FlopCount flops = flops_of(matmuls);
  OpTemplate op =
      compute(name, OpKind::grouped_matmul, std::move(matmuls), flops, std::move(reads),
              std::move(writes), sums_rows ? Names{} : weights, sums_rows ? weights : Names{});
  auto& work = std::get<Compute>(op.work);
  work.format = format_;
  work.groups = groups.experts;
  work.tile = sums_rows                           ? groups.tiles.weights
              : product == Product::row_gradients ? groups.tiles.rows
                                                  : groups.tiles.forward;
  work.contracts_rows = sums_rows;
  Bytes whole;
  for (const Name w : weights) {
    const Bytes bytes = layer_.weights[weight(w)].gathered;
    whole += bytes;
    if (sums_rows && groups.adds) work.hbm_bytes += bytes;
  }
  work.hbm_bytes -= whole - Bytes(whole.value() / groups.share);
  return op;
}

void LayerBuilder::grouped_linear(Name name, const Names& weights, Name in, const Names& out,
                                  std::vector<Matmul> matmuls, const Groups& groups) {
  std::vector<Matmul> input_gradient;
  for (const Matmul& p : matmuls) input_gradient.push_back({p.count, p.m, p.n, p.k});
  forward(grouped(Product::rows, name, matmuls, {in}, out, weights, groups));
  Names reads = gradients_of(out);
  backward(grouped(Product::row_gradients, with_suffix(name, "_dx"), std::move(input_gradient),
                   reads, {"d_" + in}, weights, groups));
  reads.push_back(in);
  // dW of each expert contracts its own rows: tiles run over the same rows as forward.
  backward(grouped(Product::weight_gradients, with_suffix(name, "_dw"), std::move(matmuls),
                   std::move(reads), {}, weights, groups));
}

void LayerBuilder::vector(Name name, const Names& weights, const Names& in, const Names& out,
                          const Names& kept, const Names& of, FlopCount model_flops) {
  forward(compute(name, OpKind::elementwise, {}, model_flops, in, out, weights));
  if (of.empty()) return;
  Names reads = kept;
  for (const Name gradient : gradients_of(out)) reads.push_back(gradient);
  backward(compute(with_suffix(name, "_back"), OpKind::elementwise, {}, model_flops * 2,
                   std::move(reads), gradients_of(of), weights, weights));
}

LayerTemplate LayerBuilder::take() {
  std::int32_t index = 0;
  for (Stage& stage : layer_.stages) {
    for (auto* ops :
         {&stage.forward, &stage.forward_beside, &stage.backward, &stage.backward_beside}) {
      for (OpTemplate& op : *ops) op.index = index++;
    }
  }
  return std::move(layer_);
}

}  // namespace meshsim
