// How ranks exchange bytes: the one thing that a backend has to provide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace meshsim {

// A stretch of a buffer, in bytes.
struct Block {
  std::int64_t offset = 0, size = 0;
};

// All ranks call the same operations in the same order. `to[j]` of rank i is what goes to rank j;
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

}  // namespace meshsim
