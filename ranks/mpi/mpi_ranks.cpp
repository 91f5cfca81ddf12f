// Ranks as processes, over MPI. A rank that dies takes the world with it: mpirun ends the others
// and says which one it was.
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "ranks/mpi/plugin.hpp"

namespace meshsim {
namespace {

// MPI counts and displacements are ints: long exchanges go in rounds, in which all blocks of a rank
// together have at most this many bytes.
constexpr std::int64_t largest_round = std::int64_t{1} << 30;

class MpiRanks : public Ranks {
 public:
  MpiRanks() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiRanks() override {
    for (Posted& one : posted_) MPI_Wait(&one.request, MPI_STATUS_IGNORE);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_to_all(const std::byte* send, std::span<const Block> to, std::byte* receive,
                  std::span<const Block> from) override {
    std::int64_t longest = 0;
    for (const Block& block : to) longest = std::max(longest, block.size);
    MPI_Allreduce(MPI_IN_PLACE, &longest, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    const std::int64_t step = largest_round / size_;
    for (std::int64_t done = 0; done < longest; done += step)
      round(send, to, receive, from, done, step);
  }

  void post(int to, std::vector<std::byte> message) override {
    forget_delivered();
    Posted& one = posted_.emplace_back();
    one.message = std::move(message);
    MPI_Isend(one.message.data(), static_cast<int>(one.message.size()), MPI_BYTE, to, tag,
              MPI_COMM_WORLD, &one.request);
  }

  std::optional<std::vector<std::byte>> next(int from) override {
    forget_delivered();
    int arrived = 0;
    MPI_Status status;
    MPI_Iprobe(from, tag, MPI_COMM_WORLD, &arrived, &status);
    if (arrived == 0) return {};
    int size = 0;
    MPI_Get_count(&status, MPI_BYTE, &size);
    std::vector<std::byte> message(static_cast<std::size_t>(size));
    MPI_Recv(message.data(), size, MPI_BYTE, from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return message;
  }

 private:
  // The bytes [done, done + step) of every block. Each block is packed at a place of its
  // own, so that displacements stay small whatever the size of the buffers.
  void round(const std::byte* send, std::span<const Block> to, std::byte* receive,
             std::span<const Block> from, std::int64_t done, std::int64_t step) {
    const Layout out(to, done, step), in(from, done, step);
    std::vector<std::byte> packed(static_cast<std::size_t>(out.total));
    std::vector<std::byte> arrived(static_cast<std::size_t>(in.total));
    for (std::size_t j = 0; j < to.size(); ++j)
      std::copy_n(send + (out.counts[j] > 0 ? to[j].offset + done : 0), out.counts[j],
                  packed.begin() + out.offsets[j]);
    MPI_Alltoallv(packed.data(), out.counts.data(), out.offsets.data(), MPI_BYTE, arrived.data(),
                  in.counts.data(), in.offsets.data(), MPI_BYTE, MPI_COMM_WORLD);
    for (std::size_t i = 0; i < from.size(); ++i)
      std::copy_n(arrived.begin() + in.offsets[i], in.counts[i],
                  receive + (in.counts[i] > 0 ? from[i].offset + done : 0));
  }

  struct Layout {
    std::vector<int> counts, offsets;
    std::int64_t total = 0;

    Layout(std::span<const Block> blocks, std::int64_t done, std::int64_t step) {
      for (const Block& block : blocks) {
        const std::int64_t left = std::clamp<std::int64_t>(block.size - done, 0, step);
        counts.push_back(static_cast<int>(left));
        offsets.push_back(static_cast<int>(total));
        total += left;
      }
    }
  };

  // Of messages between two ranks; collectives have none.
  static constexpr int tag = 1;

  struct Posted {
    std::vector<std::byte> message;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  // Messages lie still until MPI has read them.
  void forget_delivered() {
    while (!posted_.empty()) {
      int done = 0;
      MPI_Test(&posted_.front().request, &done, MPI_STATUS_IGNORE);
      if (done == 0) return;
      posted_.pop_front();
    }
  }

  int rank_ = 0, size_ = 1;
  std::deque<Posted> posted_;
};

// Ranks of one machine talk through its memory. Open MPI finds that out in 0.05 s if it need not
// look for networks first, for which it takes 0.26 s (4.1.4, two ranks, 2026-11). What mpirun or
// the environment says of it stays; a file of parameters is overruled.
void look_for_no_network() {
  const char* const all = std::getenv("OMPI_COMM_WORLD_SIZE");
  const char* const here = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (all == nullptr || here == nullptr || std::string_view(all) != here) return;
  constexpr int replace = 0;
  ::setenv("OMPI_MCA_pml", "ob1", replace);
}

}  // namespace
}  // namespace meshsim

meshsim::Ranks* meshsim_mpi_start() {
  int started = 0;
  MPI_Initialized(&started);
  meshsim::look_for_no_network();
  // Threads take turns.
  int provided = MPI_THREAD_SINGLE;
  if (started == 0 &&
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
    return nullptr;
  return new meshsim::MpiRanks();
}

void meshsim_mpi_finish(meshsim::Ranks* world) {
  delete world;
  MPI_Finalize();
}

void meshsim_mpi_abort(int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); }
