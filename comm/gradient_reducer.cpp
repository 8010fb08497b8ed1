#include "comm/gradient_reducer.hpp"

#include <ATen/ops/empty.h>

#include "comm/allreduce_thread.hpp"
#include "comm/communicator.hpp"
#include "comm/pack.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void ReducerConfig::validate() const {
  capacity().validate(wire);
  if (timeout <= std::chrono::milliseconds::zero()) {
    throw Error(ErrorKind::usage,
                concat("timeout of ", timeout.count(), " ms: expected more than zero (--timeout)"));
  }
}

std::chrono::milliseconds parse_timeout(double seconds) {
  if (!(seconds >= 0.001 && seconds <= 1e7)) {
    throw Error(ErrorKind::usage, concat("timeout = ", seconds,
                                         " s: expected at least 0.001 and at most 10000000 (--timeout)"));
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

at::Tensor make_storage(Communicator& communicator, const ReducerConfig& config, std::int64_t numel) {
  if (communicator.world_size() > 1) {
    return communicator.make_buffer(numel, config.wire);
  }
  return at::empty({numel}, at::TensorOptions(config.device).dtype(scalar_type(config.wire)));
}

std::optional<ReduceTimes> end_round(AllreduceThread* thread, ReduceTimes alone, Clock::duration waited) {
  if (thread == nullptr) {
    return alone;
  }
  const auto start = Clock::now();
  const AllreduceRound round = thread->wait_all();
  if (!round.agreed) {
    return std::nullopt;
  }
  return ReduceTimes{.stop_requested = round.stop_requested,
                     .comm_ms = milliseconds(round.busy()),
                     .exposed_ms = milliseconds(waited + (Clock::now() - start)),
                     .wire_bytes = alone.wire_bytes};
}

}  // namespace slicereduce
