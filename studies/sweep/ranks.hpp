// A sweep that several ranks walk together (mpirun, one of them on each machine).
//
// Every rank enumerates the whole space, which is cheap, and judges the plans of its own blocks.
// They are dealt out in runs of r blocks, since neighbours share work: block b is of rank
// (b div r) mod P. Rank 0 alone has the store and writes the report; the others send it
// what they judged, and it meets the blocks in their order, as if it had judged them itself. So the
// bytes of the report depend on the number of ranks as little as on that of threads.
//
//   messages to rank 0     the plans of one block; at last, that there are no more
//   from rank 0            which plans the store knows, before anything else; how many blocks have
//                          been taken, so that nobody runs further ahead than `most_ahead` of its
//                          own blocks; that all is to stop
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "ranks/communicator.hpp"
#include "studies/sweep/store.hpp"

namespace meshsim {

class SweepRanks {
 public:
  explicit SweepRanks(Ranks& ranks);

  bool is_first() const { return ranks_.rank() == 0; }
  // All ranks, first of all: how many blocks the space has.
  void deal(std::int64_t blocks);
  bool is_mine(std::int64_t block) const { return owner(block) == ranks_.rank(); }

  // All ranks, before anything is judged: rank 0 says by index what need not be judged.
  std::vector<bool> share_known(std::vector<bool> known, const std::function<bool()>& stop);

  // Rank 0: the plans of a block that another rank has judged, in their order. Nothing if that
  // rank, or `stop`, has stopped.
  std::optional<std::vector<StoredPlan>> receive(std::int64_t block,
                                                 const std::function<bool()>& stop);
  // Another rank: the plans of one of its blocks, in the order of blocks. May wait.
  void send(const std::vector<StoredPlan>& plans);
  // Another rank: whether rank 0 has stopped.
  bool told_to_stop();

  // Once, at the end of the walk. Rank 0 tells the others to stop, and waits until they have.
  void finish();

 private:
  static constexpr std::int64_t most_ahead = 1024;

  int owner(std::int64_t block) const { return static_cast<int>(block / run_ % ranks_.size()); }
  std::optional<std::vector<std::byte>> next(int from);
  void post(int to, std::vector<std::byte> message);
  void read_orders();

  Ranks& ranks_;
  std::mutex mutex_;                 // of what ranks_ does
  std::vector<bool> ended_;          // rank 0: by rank
  std::vector<std::int64_t> taken_;  // rank 0: blocks, by rank
  std::int64_t run_ = 1;             // r
  std::int64_t sent_ = 0, acknowledged_ = 0;
  bool stop_ = false;
};

}  // namespace meshsim
