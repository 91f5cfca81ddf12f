#include "moe/collectives.hpp"

#include <algorithm>

#include "units/checked.hpp"

namespace meshsim {
namespace {

template <class T>
const std::byte* bytes_of(const T* data) {
  return reinterpret_cast<const std::byte*>(data);
}
template <class T>
std::byte* bytes_of(T* data) {
  return reinterpret_cast<std::byte*>(data);
}

// P blocks of equal size, one after another; or P times the first of them.
std::vector<Block> equal_blocks(std::int64_t count, std::int64_t size, bool same = false) {
  std::vector<Block> blocks;
  for (std::int64_t i = 0; i < count; ++i) blocks.push_back({same ? 0 : i * size, size});
  return blocks;
}

// The columns of a tensor [T, P w], as P tensors [T, w] one after another; and back.
template <class T>
Tensor<T> columns_to_parts(const Tensor<T>& all, std::int64_t parts) {
  const std::int64_t width = all.width() / parts;
  Tensor<T> result({parts * all.rows(), width});
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t t = 0; t < all.rows(); ++t)
      std::copy_n(all.row(t) + part * width, width, result.row(part * all.rows() + t));
  return result;
}

template <class T>
Tensor<T> parts_to_columns(const Tensor<T>& stacked, std::int64_t parts) {
  const std::int64_t tokens = stacked.rows() / parts, width = stacked.width();
  Tensor<T> result({tokens, parts * width});
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t t = 0; t < tokens; ++t)
      std::copy_n(stacked.row(part * tokens + t), width, result.row(t) + part * width);
  return result;
}

}  // namespace

Collectives::Collectives(Communicator& world, std::vector<int> members, Ledger& ledger)
    : world_(world), members_(std::move(members)), ledger_(ledger) {
  place_ = std::find(members_.begin(), members_.end(), world_.rank()) - members_.begin();
}

void Collectives::exchange(std::string_view collective, const std::byte* send,
                           std::span<const Block> to, std::byte* receive,
                           std::span<const Block> from) {
  const auto world_size = static_cast<std::size_t>(world_.size());
  std::vector<Block> world_to(world_size), world_from(world_size);
  for (std::size_t j = 0; j < members_.size(); ++j) {
    const auto peer = static_cast<std::size_t>(members_[j]);
    world_to[peer] = to[j];
    world_from[peer] = from[j];
    ledger_.sent.add(collective, world_.rank(), members_[j], to[j].size);
    ledger_.received.add(collective, members_[j], world_.rank(), from[j].size);
  }
  world_.all_to_all(send, world_to, receive, world_from);
}

template <class T>
std::vector<T> Collectives::all_gather(std::string_view collective, std::span<const T> mine) {
  std::vector<T> all(mine.size() * members_.size());
  const auto bytes = static_cast<std::int64_t>(mine.size_bytes());
  exchange(collective, bytes_of(mine.data()), equal_blocks(size(), bytes, true),
           bytes_of(all.data()), equal_blocks(size(), bytes));
  return all;
}

template <class T>
Tensor<T> Collectives::all_gather_rows(std::string_view collective, const Tensor<T>& mine) {
  Shape shape = mine.shape();
  shape[0] *= size();
  Tensor<T> all(shape);
  const std::int64_t bytes = mine.size() * static_cast<std::int64_t>(sizeof(T));
  exchange(collective, bytes_of(mine.data()), equal_blocks(size(), bytes, true),
           bytes_of(all.data()), equal_blocks(size(), bytes));
  return all;
}

template <class T>
void Collectives::all_to_all_rows(std::string_view collective, const Tensor<T>& send,
                                  std::span<const RowBlock> to, Tensor<T>& receive,
                                  std::span<const RowBlock> from) {
  const std::int64_t row = send.width() * static_cast<std::int64_t>(sizeof(T));
  const auto in_bytes = [row](std::span<const RowBlock> blocks) {
    std::vector<Block> result;
    for (const RowBlock& block : blocks) result.push_back({block.offset * row, block.count * row});
    return result;
  };
  exchange(collective, bytes_of(send.data()), in_bytes(to), bytes_of(receive.data()),
           in_bytes(from));
}

template <class T>
Tensor<T> Collectives::reduce_scatter_rows(std::string_view collective, const Tensor<T>& partial) {
  const std::int64_t rows = partial.rows() / size();
  Tensor<T> parts(partial.shape());  // [P, T, w]: everybody's rows of this rank
  const std::int64_t bytes = rows * partial.width() * static_cast<std::int64_t>(sizeof(T));
  exchange(collective, bytes_of(partial.data()), equal_blocks(size(), bytes),
           bytes_of(parts.data()), equal_blocks(size(), bytes));
  Tensor<T> sum = copied_rows(parts, 0, rows);  // [T, w]
  for (std::int64_t i = 1; i < size(); ++i) {
    const T* const part = parts.row(i * rows);
    for (std::int64_t c = 0; c < sum.size(); ++c)
      sum.data()[c] = from_float<T>(to_float(sum.data()[c]) + to_float(part[c]));
  }
  return sum;
}

template <class T>
Tensor<T> Collectives::reduce_scatter_columns(std::string_view collective,
                                              const Tensor<T>& partial) {
  return reduce_scatter_rows(collective, columns_to_parts(partial, size()));
}

template <class T>
Tensor<T> Collectives::all_gather_columns(std::string_view collective, const Tensor<T>& mine) {
  return parts_to_columns(all_gather_rows(collective, mine), size());
}

std::vector<std::int64_t> Collectives::all_reduce_counts(std::string_view collective,
                                                         std::span<const std::int64_t> mine) {
  const auto counters = static_cast<std::int64_t>(mine.size());
  const std::int64_t share = ceil_div(counters, size());
  std::vector<std::int32_t> padded(static_cast<std::size_t>(share * size()));
  std::transform(mine.begin(), mine.end(), padded.begin(),
                 [](std::int64_t count) { return static_cast<std::int32_t>(count); });
  std::vector<std::int32_t> parts(padded.size());
  exchange(collective, bytes_of(padded.data()), equal_blocks(size(), 4 * share),
           bytes_of(parts.data()), equal_blocks(size(), 4 * share));
  std::vector<std::int32_t> sums(static_cast<std::size_t>(share));
  for (std::size_t i = 0; i < parts.size(); ++i) sums[i % sums.size()] += parts[i];
  const auto all = all_gather(collective, std::span<const std::int32_t>(sums));
  return {all.begin(), all.begin() + counters};
}

template std::vector<std::int32_t> Collectives::all_gather(std::string_view,
                                                           std::span<const std::int32_t>);
template std::vector<std::int64_t> Collectives::all_gather(std::string_view,
                                                           std::span<const std::int64_t>);
#define MESHSIM_COLLECTIVES(T)                                                                \
  template Tensor<T> Collectives::all_gather_rows(std::string_view, const Tensor<T>&);        \
  template void Collectives::all_to_all_rows(std::string_view, const Tensor<T>&,              \
                                             std::span<const RowBlock>, Tensor<T>&,           \
                                             std::span<const RowBlock>);                      \
  template Tensor<T> Collectives::reduce_scatter_rows(std::string_view, const Tensor<T>&);    \
  template Tensor<T> Collectives::reduce_scatter_columns(std::string_view, const Tensor<T>&); \
  template Tensor<T> Collectives::all_gather_columns(std::string_view, const Tensor<T>&)
MESHSIM_COLLECTIVES(float);
MESHSIM_COLLECTIVES(Bf16);

}  // namespace meshsim
