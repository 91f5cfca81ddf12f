#include "program/streams.hpp"

#include <iterator>
#include <utility>

#include "units/checked.hpp"

namespace meshsim {
void stream_activation(LayerBuilder& build, Name symbol, std::int64_t copies) {
  build.activation(symbol, build.stream_rows(), copies * build.stream_columns());
}

Name enter_block(LayerBuilder& build, Name stream) {
  if (build.ways() == 1) return stream;
  const Name whole = stream + "_whole";
  const std::int64_t D = build.plan().model.emb_dim;
  build.activation(whole, build.T(), D);
  build.transfer("enter_block", CollectiveKind::all_gather, CollectiveKind::reduce_scatter,
                 build.axes().within, build.activation_bytes(build.T(), D), stream, whole);
  return whole;
}

Name whole_columns(LayerBuilder& build, Name stream, std::int64_t copies) {
  if (build.axes().embed.empty()) return stream;
  const Name whole = stream + "_columns";
  const std::int64_t columns = copies * build.plan().model.emb_dim;
  build.activation(whole, build.stream_rows(), columns);
  build.transfer("gather_columns", CollectiveKind::all_gather, CollectiveKind::reduce_scatter,
                 build.axes().embed, build.activation_bytes(build.stream_rows(), columns), stream,
                 whole);
  return whole;
}

Name partial_output(LayerBuilder& build, Name stream) {
  if (build.ways() == 1) {
    stream_activation(build, stream);
    return stream;
  }
  const Name partial = stream + "_partial";
  build.activation(partial, build.T(), build.plan().model.emb_dim);
  return partial;
}

void leave_block(LayerBuilder& build, Name stream) {
  if (build.ways() == 1) return;
  stream_activation(build, stream);
  build.transfer("leave_block", CollectiveKind::reduce_scatter, CollectiveKind::all_gather,
                 build.axes().within, build.activation_bytes(build.T(), build.plan().model.emb_dim),
                 stream + "_partial", stream);
}

void stream_norm(LayerBuilder& build, Name name, const Names& weights, Name in, Name out,
                 std::int64_t copies) {
  Names inputs{in};
  Names kept{in};
  if (!build.axes().embed.empty()) {
    const Name sums = name + "_sums";
    build.activation(sums, build.stream_rows(), copies, DType::float32);
    inputs.push_back(sums);
    kept.insert(kept.end(), {sums, "d_" + sums});
    const Bytes payload(checked_product({4, build.stream_rows(), copies}, "norm sums"));
    build.forward(build.collective(name + "_sums", CollectiveKind::all_reduce, build.axes().embed,
                                   payload, {in}, {sums}));
    build.vector(name, weights, inputs, {out}, kept, {in});
    build.backward(build.collective(name + "_sums_back", CollectiveKind::all_reduce,
                                    build.axes().embed, payload, {"d_" + out, in}, {"d_" + sums}));
    return;
  }
  build.vector(name, weights, inputs, {out}, kept, {in});
}

namespace {

OpTemplate column_sum(const LayerBuilder& build, const ColumnSum& sum, const char* suffix,
                      Names reads, Name to) {
  const Bytes payload(
      checked_product({build.stream_rows(), sum.numbers, element_bytes(sum.type)}, "column sums"));
  reads.push_back(to);
  return build.collective(std::string(sum.name) + suffix, CollectiveKind::all_reduce,
                          build.axes().embed, payload, std::move(reads), {to});
}

}  // namespace

void column_sums(LayerBuilder& build, Name symbol, const Names& reads,
                 const std::vector<ColumnSum>& sums) {
  std::int64_t numbers = 0;
  for (const ColumnSum& sum : sums) numbers += sum.numbers;
  build.activation(symbol, build.stream_rows(), numbers, DType::float32);
  bool first = true;
  for (const ColumnSum& sum : sums) {
    OpTemplate op = column_sum(build, sum, "", reads, symbol);
    if (std::exchange(first, false)) op.reads.pop_back();
    build.forward(std::move(op));
  }
}

void column_sums_back(LayerBuilder& build, Name symbol, const Names& reads,
                      const std::vector<ColumnSum>& sums) {
  // Backward operations are put before those that are there.
  for (auto sum = sums.rbegin(); sum != sums.rend(); ++sum) {
    OpTemplate op = column_sum(build, *sum, "_back", reads, "d_" + symbol);
    if (std::next(sum) == sums.rend()) op.reads.pop_back();
    build.backward(std::move(op));
  }
}

void latent_linear(LayerBuilder& build, Name name, const Names& weights, Name in, Name out,
                   std::int64_t n, std::optional<DType> given) {
  const auto kernels = static_cast<std::int64_t>(weights.size());
  const ActivationAxes& axes = build.axes();
  const std::int64_t rows = build.stream_rows();
  const Name local = axes.rows.empty() ? out : Name(out + "_local");
  const DType type = given.value_or(build.plan().training.activations);
  build.activation(out, build.T(), kernels * n, type);
  build.activation(local, rows, kernels * n, type);
  const auto bytes = [&](std::int64_t of) {
    return Bytes(checked_product({of, kernels, n, element_bytes(type)}, "latents"));
  };
  build.linear(name, weights, {in}, {local}, {{kernels, rows, build.stream_columns(), n}});
  // The sums are formed in place, in both passes: the gradient that comes back is that of each
  // device's heads.
  if (!axes.embed.empty()) {
    const Bytes payload = bytes(rows);
    build.forward(build.collective(name + "_sum", CollectiveKind::all_reduce, axes.embed, payload,
                                   {local}, {local}));
    build.backward(build.collective(name + "_sum_back", CollectiveKind::all_reduce, axes.embed,
                                    payload, {"d_" + local}, {"d_" + local}));
  }
  if (!axes.rows.empty()) {
    build.transfer(name + "_gather", CollectiveKind::all_gather, CollectiveKind::reduce_scatter,
                   axes.rows, bytes(build.T()), local, out);
  }
}

}  // namespace meshsim
