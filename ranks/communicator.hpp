// How ranks exchange bytes: what a backend has to provide. All together, in step (Communicator), or
// one to another, whenever there is something to say (Ranks).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace meshsim {

// A stretch of a buffer, in bytes.
struct Block {
  std::int64_t offset = 0, size = 0;
};

// All ranks call all_to_all in the same order. `to[j]` of rank i is what goes to rank j;
// it has the size of `from[i]` of rank j. A rank's block for itself is copied too. On return the
// receive buffer is filled and the send buffer may be changed. Throws if another rank has failed:
// a rank never waits for one that will not come.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void all_to_all(const std::byte* send, std::span<const Block> to, std::byte* receive,
                          std::span<const Block> from) = 0;
};

// Ranks that can also write to each other.
class Ranks : public Communicator {
 public:
  // A message for one rank; does not wait for it to be taken. Messages of one rank to another
  // arrive in their order. By one thread at a time.
  virtual void post(int to, std::vector<std::byte> message) = 0;
  // The next message of `from`, or nothing if none has arrived.
  virtual std::optional<std::vector<std::byte>> next(int from) = 0;
};

}  // namespace meshsim
