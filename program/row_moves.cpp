#include "program/row_moves.hpp"

#include <algorithm>
#include <bit>

#include "units/checked.hpp"

namespace meshsim {
namespace {

OpTemplate row_move(const LayerBuilder& build, Name name, Names reads, Names writes,
                    Bytes gathered) {
  OpTemplate op = build.compute(name, OpKind::elementwise, {}, FlopCount{}, std::move(reads),
                                std::move(writes));
  std::get<Compute>(op.work).gathered = gathered;
  return op;
}

Bytes touched(const LayerBuilder& build, Name symbol) { return build.symbol(symbol).touched; }

}  // namespace

std::int64_t sort_steps(std::int64_t keys) {
  if (keys < 2) return 0;
  const auto levels =
      static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(keys - 1)));
  return checked_multiply(keys, levels * (levels + 1) / 2, "steps of a sort");
}

void sort_keys(LayerBuilder& build, Name from, std::int64_t keys, Name order) {
  build.activation(order, 2, keys, DType::int32);
  OpTemplate op =
      build.compute("sort_keys_of_" + order, OpKind::elementwise, {}, {}, {from}, {order});
  std::get<Compute>(op.work).sort_steps = checked_multiply(2, sort_steps(keys), "steps of a sort");
  build.forward(std::move(op));
}

void sort_rows(LayerBuilder& build, Name name, Name from, Name index, Name to) {
  const Bytes both = touched(build, from) + touched(build, to);
  build.forward(row_move(build, name, {from, index}, {to}, both));
  OpTemplate back =
      row_move(build, with_suffix(name, "_back"), {"d_" + to, index}, {"d_" + from}, both);
  if (!build.plan().config.boolean("use_custom_sort_vjp")) {
    auto& work = std::get<Compute>(back.work);
    work.gathered = {};
    work.scatter_added = std::max(touched(build, from), touched(build, to));
    work.hbm_bytes += work.scatter_added;  // the sums so far are read
    if (back.routed.rows > 0) back.routed.bytes += work.scatter_added;
  }
  build.backward(std::move(back));
}

void take_rows(LayerBuilder& build, Name name, Name from, Name index, Name to, std::int64_t passes,
               std::int64_t passes_back) {
  const Bytes pass = std::max(touched(build, from), touched(build, to));
  const auto move = [&](Name move_name, const Names& reads, const Names& writes,
                        std::int64_t times) {
    OpTemplate op = row_move(build, move_name, reads, writes, pass * times);
    auto& work = std::get<Compute>(op.work);
    work.hbm_bytes = std::max(work.hbm_bytes, work.gathered);
    return op;
  };
  build.forward(move(name, {from, index}, {to}, passes));
  build.backward(move(with_suffix(name, "_back"), {"d_" + to, index}, {"d_" + from}, passes_back));
}

void to_experts(LayerBuilder& build, Name tokens, Name order, Name sorted, TokenOrder between,
                const std::string& chunk) {
  const Name name = "fan_out" + chunk;
  const Name back = with_suffix(name, "_back");
  if (between.rows == 0) {
    const Bytes rows = touched(build, sorted);
    build.forward(row_move(build, name, {tokens, order}, {sorted}, rows * 2));
    build.backward(row_move(build, back, {"d_" + sorted, order}, {"d_" + tokens}, rows));
    return;
  }
  const Name fanned_out = "fanned_out" + chunk;
  build.activation(fanned_out, between.rows, between.columns);
  const Bytes rows = touched(build, fanned_out);  // a token's row stays at hand while it is copied
  build.forward(row_move(build, name, {tokens}, {fanned_out}, rows));
  build.backward(row_move(build, back, {"d_" + fanned_out}, {"d_" + tokens}, rows));
  sort_rows(build, "sort" + chunk, fanned_out, order, sorted);
}

void from_experts(LayerBuilder& build, Name sorted, Name order, Name routing, Name sums,
                  TokenOrder between, const std::string& chunk) {
  Name rows = sorted;
  if (between.rows > 0) {
    rows = "unsorted" + chunk;
    build.activation(rows, between.rows, between.columns);
    sort_rows(build, "unsort" + chunk, sorted, order, rows);
  }
  const Name name = "fan_in" + chunk;
  const Bytes read = touched(build, rows);
  if (routing == Name()) {
    build.forward(row_move(build, name, {rows}, {sums}, read));
    build.backward(row_move(build, with_suffix(name, "_back"), {"d_" + sums}, {"d_" + rows}, read));
    return;
  }
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
