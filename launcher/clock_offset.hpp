#pragma once

#include <cstdint>
#include <functional>

#include "comm/communicator.hpp"

namespace slicereduce {

/// How this rank's clock stands to rank 0's. Nanoseconds.
struct ClockOffset {
  std::int64_t at = 0;        ///< when it was measured, by this rank's clock
  std::int64_t to_rank0 = 0;  ///< what a time of this rank lacks to be one of rank 0's
  std::int64_t bound = 0;     ///< the most that it may be wrong by
};

/// A time of this rank as one of rank 0's. Clocks run at different rates: between the two measurements the
/// offset is taken to change evenly.
[[nodiscard]] std::int64_t at_rank0(std::int64_t time, const ClockOffset& earlier, const ClockOffset& later);

/// Collective. Blocks. Of several exchanges with rank 0 the shortest: the other clock was read somewhere
/// between a question's start and its answer, so half of that time bounds the error (Cristian, "Probabilistic
/// clock synchronization", Distributed Computing 3, 1989). `now` gives nanoseconds.
[[nodiscard]] ClockOffset measure_clock(Communicator& communicator, const std::function<std::int64_t()>& now);

}  // namespace slicereduce
