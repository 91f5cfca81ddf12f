#include "program/row_moves.hpp"

#include <algorithm>

namespace meshsim {
namespace {

OpTemplate row_move(const LayerBuilder& build, const std::string& name, Names reads, Names writes,
                    Bytes gathered) {
  OpTemplate op = build.compute(name, OpKind::elementwise, {}, FlopCount{}, std::move(reads),
                                std::move(writes));
  std::get<Compute>(op.work).gathered = gathered;
  return op;
}

Bytes touched(const LayerBuilder& build, const std::string& symbol) {
  return build.symbol(symbol).touched;
}

}  // namespace

void sort_rows(LayerBuilder& build, const std::string& name, const std::string& from,
               const std::string& index, const std::string& to) {
  const Bytes both = touched(build, from) + touched(build, to);
  build.forward(row_move(build, name, {from, index}, {to}, both));
  OpTemplate back =
      row_move(build, with_suffix(name, "_back"), {"d_" + to, index}, {"d_" + from}, both);
  if (!build.plan().config.boolean("use_custom_sort_vjp")) {
    auto& work = std::get<Compute>(back.work);
    work.gathered = {};
    work.scatter_added = std::max(touched(build, from), touched(build, to));
    work.hbm_bytes += work.scatter_added;  // the sums so far are read
  }
  build.backward(std::move(back));
}

void to_experts(LayerBuilder& build, const std::string& tokens, const std::string& routing,
                const std::string& sorted, TokenOrder between, const std::string& chunk) {
  const std::string name = "fan_out" + chunk;
  const std::string back = with_suffix(name, "_back");
  if (between.rows == 0) {
    const Bytes rows = touched(build, sorted);
    build.forward(row_move(build, name, {tokens, routing}, {sorted}, rows * 2));
    build.backward(row_move(build, back, {"d_" + sorted, routing}, {"d_" + tokens}, rows));
    return;
  }
  const std::string fanned_out = "fanned_out" + chunk;
  build.activation(fanned_out, between.rows, between.columns);
  const Bytes rows = touched(build, fanned_out);  // a token's row stays at hand while it is copied
  build.forward(row_move(build, name, {tokens}, {fanned_out}, rows));
  build.backward(row_move(build, back, {"d_" + fanned_out}, {"d_" + tokens}, rows));
  sort_rows(build, "sort" + chunk, fanned_out, routing, sorted);
}

void from_experts(LayerBuilder& build, const std::string& sorted, const std::string& routing,
                  const std::string& sums, TokenOrder between, const std::string& chunk) {
  std::string rows = sorted;
  if (between.rows > 0) {
    rows = "unsorted" + chunk;
    build.activation(rows, between.rows, between.columns);
    sort_rows(build, "unsort" + chunk, sorted, routing, rows);
  }
  const std::string name = "fan_in" + chunk;
  const Bytes read = touched(build, rows);
  build.forward(row_move(build, name, {rows, routing}, {sums}, read));
  // The gradient of a row is that of its sum, weighted; that of its weight, their product.
  build.backward(row_move(build, with_suffix(name, "_back"), {rows, routing, "d_" + sums},
                          {"d_" + rows, "d_" + routing}, read * 2));
}

TokenOrder ring_token_order(const LayerBuilder& build, const ExpertRows& rows,
                            std::int64_t columns) {
  return {build.plan().config.boolean("use_ragged_sort") ? 0 : rows.buffer, columns};
}

}  // namespace meshsim
