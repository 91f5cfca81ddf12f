// Ctrl-C (SIGINT) and SIGTERM as a wish to stop, for as long as the object lives. A second one ends
// the program at once.
#pragma once

namespace meshsim {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool happened() const;
};

}  // namespace meshsim
