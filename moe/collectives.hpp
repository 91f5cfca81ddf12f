// The collectives of an MoE layer over one communicator, with every byte counted.
//
//   P members of a group, this one at place p; all shapes per rank
//
// All are built of the communicator's one exchange and send directly from owner to consumer, so
// that what is counted is traffic between logical pairs; hops belong to the network.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "moe/tensor.hpp"
#include "ranks/communicator.hpp"
#include "routing/traffic.hpp"

namespace meshsim {

// What this rank sent and received, under world rank numbers.
struct Ledger {
  Traffic sent, received;
};

// Rows per peer of a ragged exchange: `offset` and `count` in rows of the own buffer.
struct RowBlock {
  std::int64_t offset = 0, count = 0;
};

class Collectives {
 public:
  // The group `members` (world ranks, ascending) of `world`, of which this rank is one. Several
  // disjoint groups of equal size work side by side, as the rows and columns of a grid do: all
  // ranks of the world call the same operations in the same order.
  Collectives(Communicator& world, std::vector<int> members, Ledger& ledger);

  std::int64_t size() const { return static_cast<std::int64_t>(members_.size()); }
  std::int64_t place() const { return place_; }

  // [size, mine]: everybody's elements, by place. All contribute equally many.
  template <class T>
  std::vector<T> all_gather(std::string_view collective, std::span<const T> mine);
  template <class T>
  Tensor<T> all_gather_rows(std::string_view collective, const Tensor<T>& mine);

  // Rows of `send` to the peers, into `receive`; offsets and counts as the blocks say.
  template <class T>
  void all_to_all_rows(std::string_view collective, const Tensor<T>& send,
                       std::span<const RowBlock> to, Tensor<T>& receive,
                       std::span<const RowBlock> from);

  // partial [P T, w] of every rank -> the sum of everybody's rows [p T, (p+1) T), added in the
  // element type in the order of the ranks.
  template <class T>
  Tensor<T> reduce_scatter_rows(std::string_view collective, const Tensor<T>& partial);
  // partial [T, w] -> columns [p w/P, (p+1) w/P) of the sum, [T, w/P].
  template <class T>
  Tensor<T> reduce_scatter_columns(std::string_view collective, const Tensor<T>& partial);
  // mine [T, w/P] -> [T, w]: the inverse.
  template <class T>
  Tensor<T> all_gather_columns(std::string_view collective, const Tensor<T>& mine);

  // Sums of counters over the group: a reduce-scatter and an all-gather of 4 ceil(E/P) bytes each.
  std::vector<std::int64_t> all_reduce_counts(std::string_view collective,
                                              std::span<const std::int64_t> mine);

 private:
  void exchange(std::string_view collective, const std::byte* send, std::span<const Block> to,
                std::byte* receive, std::span<const Block> from);

  Communicator& world_;
  std::vector<int> members_;
  std::int64_t place_ = 0;
  Ledger& ledger_;
};

}  // namespace meshsim
