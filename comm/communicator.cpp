#include "comm/communicator.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/Stream.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "comm/pack.hpp"
#include "core/error.hpp"

namespace slicereduce {

at::Tensor Communicator::make_buffer(std::int64_t numel, WireType type) {
  return at::empty({numel}, at::TensorOptions(device()).dtype(scalar_type(type)));
}

std::shared_ptr<const c10::Event> Communicator::enqueue_allreduce(WireBuffer buffer,
                                                                  const OnItsStream& around) {
  const Wait wait(*this);
  const c10::Stream here(c10::Stream::DEFAULT, device());
  around.before(here);
  const auto pending = start_allreduce(std::move(buffer));
  while (!pending->test()) {
    std::this_thread::yield();
  }
  around.after(here);
  return nullptr;
}

void Communicator::give_up(const std::string& why) const { throw Error(ErrorKind::mpi, why); }

std::vector<std::string> allgather_texts(Communicator& communicator, std::string_view text) {
  const auto ranks = static_cast<std::size_t>(communicator.world_size());
  const std::uint64_t own_length = text.size();
  std::vector<std::uint64_t> lengths(ranks);
  const auto gathered_lengths = communicator.allgather(std::as_bytes(std::span(&own_length, 1)));
  std::memcpy(lengths.data(), gathered_lengths.data(), gathered_lengths.size());

  std::string padded(text);
  padded.resize(*std::ranges::max_element(lengths));
  const auto gathered = communicator.allgather(std::as_bytes(std::span(padded)));
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    // Not data() + offset of an empty vector: all texts may be empty.
    const auto own = std::span(gathered).subspan(rank * padded.size(), lengths[rank]);
    std::string& copy = texts.emplace_back(own.size(), '\0');
    std::ranges::transform(own, copy.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  }
  return texts;
}

}  // namespace slicereduce
